"""The `reference-model` command."""

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="medground", prog_name="reference-model")
def main() -> None:
    """The reference pixel-grounding model and its training stages.

    This version has no commands yet: the model family and its training come with a later version.
    """


if __name__ == "__main__":
    main()
