// @ts-check
// A volume and its masks in NiiVue, which is a script of its own before this one.
"use strict";
(() => {
  /** @typedef {{title: string, value: number | null, oriented: boolean, grey: string, target: string, prediction: string}} Scene */
  const place = document.querySelector(".niivue");
  const library = /** @type {any} */ (globalThis).niivue;
  if (!place || !library) return;
  const find = (/** @type {string} */ selector) => /** @type {any} */ (place.querySelector(selector));
  const scenes = /** @type {Scene[]} */ (JSON.parse(find("script").textContent));
  const choice = /** @type {HTMLSelectElement} */ (find("select"));
  const status = /** @type {HTMLOutputElement} */ (find("output"));
  // Nothing is loaded from anywhere: volumes are in the page, and without a drag handler no file of the reader either.
  const viewer = new library.Niivue({ dragAndDropEnabled: false, backColor: [0.17, 0.2, 0.23, 1], show3Dcrosshair: true,
    isRadiologicalConvention: true, loadingText: "", crosshairColor: [1, 1, 1, 0.6], crosshairWidth: 0.5 });
  const colours = { target: "niivue-target", prediction: "niivue-prediction" };
  /** @type {Record<string, number>} */
  let layers = {};

  const opacity = () => {
    for (const [kind, index] of Object.entries(layers)) {
      viewer.setOpacity(index, find(`#niivue-${kind}`).checked ? 0.55 : 0);
    }
  };

  const show = async () => {
    const scene = scenes[Number(choice.value)];
    status.value = "loading";
    for (const volume of [...viewer.volumes]) viewer.removeVolume(volume);
    layers = {};
    // Its range is set, or NiiVue would stretch the one it guesses from a few percentiles.
    viewer.addVolume(await library.NVImage.loadFromBase64({ base64: scene.grey, name: "volume.nii.gz",
      colormap: "gray", cal_min: 0, cal_max: 255, trustCalMinMax: false }));
    for (const kind of /** @type {const} */ (["target", "prediction"])) {
      if (!scene[kind]) continue;
      viewer.addVolume(await library.NVImage.loadFromBase64({ base64: scene[kind], name: `${kind}.nii.gz`,
        colormap: colours[kind], cal_min: 0.5, cal_max: 1, opacity: 0.55 }));
      layers[kind] = viewer.volumes.length - 1;
    }
    for (const kind of ["target", "prediction"]) find(`#niivue-${kind}`).disabled = !(kind in layers);
    viewer.opts.isOrientationTextVisible = scene.oriented;
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    opacity();
    status.value = "";
    find("canvas").dataset.loaded = scene.title;
  };

  const start = async () => {
    // The colours of the pages of slices: sky blue and orange.
    viewer.addColormap(colours.target, { R: [0, 86], G: [0, 180], B: [0, 233], A: [0, 255], I: [0, 255] });
    viewer.addColormap(colours.prediction, { R: [0, 245], G: [0, 166], B: [0, 35], A: [0, 255], I: [0, 255] });
    await viewer.attachToCanvas(find("canvas"));
    await show();
    choice.addEventListener("change", () => void show());
    for (const kind of ["target", "prediction"]) find(`#niivue-${kind}`).addEventListener("change", opacity);
  };
  start().catch((error) => {
    status.value = `NiiVue cannot show the volume here: ${error.message ?? error}`;
  });
})();
