"""Replies of known meaning, as models word them: letters, option texts, yes and no, boxes, and scores of judges.

The meaning comes from the phrase that a reply is built from, never from reading it: no code is shared with the readers.
Among the phrases are traps, which say nothing that may be read; their meaning is None.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

Meaning = str | float | tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, its meaning, and the options of its question."""

    text: str
    meaning: Meaning
    options: tuple[str, ...] = ()


OPTIONS = (
    ("Spleen", "Liver", "Heart", "Kidney"),
    ("Pneumonia", "Fracture", "Normal", "Effusion"),
    ("CT", "MRI", "X-ray", "Ultrasound"),
    ("Left lung", "Right lung", "Both lungs", "Neither lung"),
    ("Normal", "Abnormal", "Normal variant", "None of the above"),
    ("Axial", "Coronal", "Sagittal"),
    ("Basal cell carcinoma", "Melanoma", "Squamous cell carcinoma", "Seborrheic keratosis", "Actinic keratosis"),
    ("Stage I", "Stage II", "Stage III", "Stage IV"),
    ("5 mm", "10 mm", "15 mm", "20 mm"),
    ("A fluid level", "An air bubble", "The aorta", "Staphylococcus aureus", "Glioma"),
    ("Vitamin A deficiency", "Vitamin B deficiency", "Vitamin C deficiency", "Vitamin D deficiency"),
    ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Fibrosis", "Hernia", "Mass", "Nodule", "Scar"),
    ("脾脏", "肝脏", "心脏", "肾脏"),
    ("Yes, on the left", "Yes, on the right", "No"),
)

# L: the letter meant, l: small, T: its text, t: in small letters, O and P: another letter and its text, Q: a third.
LETTERS = (
    *("{L}", "{L}.", "({L})", "[{L}]", "{L})", "{L}:", "{l}", "({l})", "{l}.", "{l})", '"{L}"', "'{L}'", "Option {L}"),
    *("{L}. {T}", "{L}) {T}", "{L}: {T}", "({L}) {T}", "[{L}] {T}", "{L} - {T}", "{L} {T}", "{L}、{T}", "{L}，{T}"),
    *("{T} ({L})", "{L}. {T}.", "{L}\n\nExplanation: {P} does not fit.", "{L}\n{P} is absent.", "{L} ({T})"),
    *("Answer: {L}", "Answer: {L}. {T}", "Answer: {l}", "answer {L}", "The answer is {L}", "The answer is {L}."),
    *("The answer is: {L}", "The answer is ({L}).", "The answer is ({L}) {T}.", 'The answer is "{L}".'),
    *("The answer is {L}, {T}.", "The answer is {L} because of the shape.", "The correct answer is {L}."),
    *("The correct answer is option {L}.", "The correct option is {L}: {T}", "The best option is {L}.", "Choice {L}"),
    *("The most likely answer is {L}.", "The correct choice would be {L}.", "I would choose {L}.", "I choose {L}"),
    *("I would choose option {L}.", "I'd go with {L}.", "I would go with option ({L}).", "I'd say {L}.", "I pick {L}."),
    *(
        "I select {L}, as it fits best.",
        "My answer is {L}.",
        "My choice is {L}.",
        "I think it's {L}.",
        "I believe {L} is correct.",
    ),
    *("{L} is correct.", "{L} is the correct answer.", "Option {L} is correct.", "Option {L} is the best choice."),
    *(
        "It's {L}.",
        "It is {L}.",
        "It must be {L}.",
        "Probably {L}.",
        "So {L}.",
        "Therefore, {L}.",
        "Thus, the answer is {L}.",
    ),
    *("Based on the image, the correct option is {L}.", "Looking at the image, I would pick {L}."),
    *("The organ is large and lies on the right. So the answer is {L}.", "Let me think. The answer is {L}."),
    *("The shape fits.\n\n{L}", "The shape fits.\n\n{L}. {T}", "The option that best describes the image is {L}."),
    *("Option {O} is wrong; the answer is {L}.", "It is not {O}, it is {L}.", "It's not {O} but {L}.", "Not {O}. {L}"),
    *("{O} is incorrect. {L} is correct.", "I would rule out {O} and {Q}. The answer is {L}.", "{L}, not {O}."),
    *("{L} rather than {O}.", "Neither {O} nor {Q}; the answer is {L}.", "{O} can be excluded, so {L}."),
    *(
        "I'm not sure, but I would go with {L}.",
        "There is no doubt that the answer is {L}.",
        "{L}, because {O} is wrong.",
    ),
    *("{A}\n\nAnswer: {L}", "The options are: {A}\n\nThe answer is {L}.", "Among {O}, {Q} and {L}, I choose {L}."),
    *(
        "ANSWER: {L}",
        "Ans: {L}",
        "Correct answer: {L}",
        "Final answer: {L}",
        "Final answer: {L}. {T}",
        "Final Answer\n{L}",
    ),
    *(
        "选{L}",
        "选 {L}",
        "我选{L}",
        "我选择 {L}。",
        "应选{L}",
        "故选{L}。",
        "选项{L}",
        "{L}选项",
        "{L}项",
        "答案是{L}",
        "答案：{L}",
    ),
    *(
        "答案为{L}。",
        "答案{L}",
        "正确答案是{L}",
        "正确答案为 {L}",
        "正确选项是{L}。",
        "正确答案：{L}、{T}",
        "{L}。",
        "{L}、",
    ),
    *(
        "应该是{L}。",
        "{L}是正确的。",
        "{L}正确",
        "不是{O}，而是{L}。",
        "排除{O}和{Q}，选{L}。",
        "{O}错误，选{L}。",
        "{O}不对，应选{L}",
    ),
    *("根据图像，正确答案是{L}。", "这张图显示右侧较大。因此答案是{L}。"),
    *(
        "Looks like {L}.",
        "{L} it is.",
        "The answer has to be {L}.",
        "I'm leaning toward {L}",
        "{L} over {O}",
        "Choose {L}",
    ),
    *(
        "The second best is {O}, but the answer is {L}.",
        "{L} best describes the image.",
        "The answer is, in my opinion, {L}",
    ),
    *(
        "I first thought of {O}, but the answer is {L}.",
        "Between {O} and {L}, I choose {L}.",
        "=> {L}",
        "Given the shape, {L}.",
    ),
    *(
        "The answer is {L}.\n\n{O} is incorrect because of its side.\n{Q} is incorrect.",
        "{T} is shown, so {L} is right.",
    ),
    *(
        "The correct answer is {L}. {T}.\n\nThe other one ({O}) is on the left.",
        "本题选{L}",
        "综上，选{L}",
        "{L}（{T}）",
        "【答案】{L}",
    ),
)
NOT_LETTERS = (
    *("Option {L} is incorrect.", "Option {L} is wrong.", "{L} is incorrect.", "{L} is wrong.", "{L}: incorrect"),
    *(
        "The answer is not {L}.",
        "The answer is not option {L}.",
        "It is not {L}.",
        "It isn't {L}.",
        "Not {L}.",
        "not ({L})",
    ),
    *("I would rule out {L}.", "I would rule out option {L}.", "{L} can be ruled out.", "{L} can be excluded."),
    *(
        "{L} cannot be correct.",
        "Exclude {L}.",
        "We can eliminate {L} and {O}.",
        "Neither {L} nor {O}.",
        "All but {L}.",
    ),
    *(
        "{L} is unlikely.",
        "{L} isn't right.",
        "Anything but {L}.",
        "I don't think it is {L}.",
        "I doubt that it is {L}.",
    ),
    *("{L} or {O}", "{L} and {O}", "{L}, {O}", "{L}/{O}", "({L}) or ({O})", "Either {L} or {O}.", "Both {L} and {O}."),
    *("The answer is {L} or {O}.", "The answer is either {L} or {O}.", "{L} or possibly {O}.", "Answer: {L} and {O}"),
    *("{L}, but {O} is also possible.", "The answer is {L}. The answer is {O}.", "{L}\n{O}", "{L}. {P}", "{L} - {P}"),
    *("({L}) {P}", "{L} ({P})", "The answer is {L}, {P}.", "{P} ({L})", "{A}", "Question: which one?\n{A}"),
    *(
        "I don't know.",
        "I am not sure.",
        "I cannot determine the answer.",
        "A large organ is visible.",
        "A scan of the body.",
    ),
    *("An organ is visible.", "As an AI, I cannot answer.", "I, as an AI model, cannot tell.", "Answer: I don't know"),
    *("Answer: A large organ is visible.", "The answer is A typical organ.", "Sorry, I can't help with that.", "None."),
    *(
        "Hepatitis {L} is common.",
        "The answer is hepatitis {L} infection",
        "A-line artefacts are seen.",
        "The answer is B-cell lymphoma.",
    ),
    *(
        "Z",
        "The answer is Z.",
        "",
        "...",
        "不选{L}",
        "不是{L}",
        "排除{L}",
        "{L}错误",
        "{L}是错误的。",
        "{L}不正确",
        "答案不是{L}",
    ),
    *(
        "{L}或{O}",
        "{L}和{O}",
        "选{L}或{O}",
        "无法判断。",
        "Figure {L} shows a scan.",
        "It is {L} or {O}, I cannot tell.",
    ),
    *(
        "<answer>{L}</answer> <answer>{O}</answer>",
        '{{"answer": "{L}", "choice": "{O}"}}',
        "\\boxed{{{L}}} or \\boxed{{{O}}}",
    ),
    *("<think>The answer is {L}", "<think>The answer is {L}.</think>", "<think>\nSo {L} it is. Wait,", "{L}<think>or"),
    *("The answer could be {L} or {O} depending on the view.", "If it lay on the left, the answer would be {L}."),
    *("I initially thought {L}, but I cannot tell.", "I'm not sure it's {L}", "Some may say {L}", "{L} is possible."),
    *(
        "Is it {L}?",
        "{L}? No.",
        "{L} does not fit.",
        "Everything except {L}.",
        "The least likely is {L}.",
        "Wrong: {L}",
    ),
    *(
        "None of {L}, {O} or {Q}.",
        "I hesitate between {L} and {O}.",
        "The arrow labelled {L} points down.",
        "{L}+{O}",
        "{L}{O}",
    ),
    *("A: I cannot tell.", "Patient {L} is older.", "{L} or something else"),
)
TEXTS = (
    *(
        "{T}",
        "{T}.",
        "{t}",
        "{t}.",
        '"{T}"',
        "“{T}”",
        "**{T}**",
        "({T})",
        "{T}\n",
        "  {T}  ",
        "Answer: {T}",
        "Answer: {T}.",
    ),
    *(
        "The answer is {T}.",
        "The answer is {t}",
        "The correct answer is {T}.",
        "The correct answer is: {T}",
        "Final answer: {T}",
    ),
    *("The most likely answer is {T}.", "The best answer is {T}.", "The correct option is {T}.", "My answer is {T}."),
    *(
        "I would choose {T}.",
        "I choose {T}.",
        "I'd go with {T}.",
        "I would say {T}.",
        "I pick {T}",
        "I think it is {T}.",
    ),
    *("It is {T}.", "It's {t}.", "This is {T}.", "This is {t}.", "That would be {T}.", "The answer would be {T}."),
    *("The correct diagnosis is {T}.", "Therefore, the answer is {T}.", "So the answer is {T}.", "The answer: {T}"),
    *(
        "The answer is **{T}**.",
        "\\boxed{{{T}}}",
        "\\boxed{{\\text{{{T}}}}}",
        "<answer>{T}</answer>",
        '{{"answer": "{T}"}}',
    ),
    *("It is not {P}, it is {T}.", "The answer is {T}, not {P}.", "Not {P}. The answer is {T}.", "{T}, not {P}."),
    *(
        "{T}, because of the shape.",
        "{T}\n\nExplanation: {P} does not fit.",
        "{T} is correct.",
        "{T} is the correct answer.",
    ),
    *(
        "I would rule out {P}. The answer is {T}.",
        "{P} is wrong. The answer is {T}.",
        "Based on the image, the answer is {T}.",
    ),
    *(
        "答案是{T}",
        "答案是{T}。",
        "答案：{T}",
        "正确答案是{T}。",
        "应该是{T}。",
        "不是{P}，而是{T}。",
        "选择{T}。",
        "我选{T}。",
        "是{T}。",
    ),
    *(
        "The answer is {T} ({L}).",
        "{T} ({L})",
        "{T}, option {L}",
        "Option {L}, {T}",
        "The answer is {T}, which is option {L}.",
    ),
)
NOT_TEXTS = (
    *(
        "not {T}",
        "It is not {T}.",
        "Not {T}.",
        "The answer is not {T}.",
        "I would rule out {T}.",
        "{T} is wrong.",
        "{T} is incorrect.",
    ),
    *(
        "{T} is unlikely.",
        "{T} can be excluded.",
        "{T} or {P}",
        "{T} and {P}",
        "{T}, {P}",
        "Either {T} or {P}.",
        "{T}/{P}",
    ),
    *("The answer is {T} or {P}.", "The answer is either {T} or {P}.", "It could be {T} or {P}.", "I see {T} and {P}."),
    *("It might be {T} or maybe {P}.", "{T} and {P} are visible.", "Neither {T} nor {P}.", "I don't think it is {T}."),
    *(
        "The answer is {T}. The answer is {P}.",
        "{O}. {T}",
        "{O}) {T}",
        "{O}: {T}",
        "({O}) {T}",
        "The answer is {O}, {T}.",
    ),
    *(
        "The answer is {T} ({O}).",
        "{T} ({O})",
        "{T}, option {O}",
        "Option {O}, {T}",
        "<think>It is {T}.",
        "<think>{T}</think>",
    ),
    *(
        "<answer>{T}</answer><answer>{P}</answer>",
        "不是{T}",
        "不是{T}。",
        "排除{T}",
        "{T}或{P}",
        "{T}和{P}",
        "答案不是{T}。",
        "{T}错误",
    ),
    *("It is neither {T} nor {P}.", "Something other than {T}.", "It cannot be {T}.", "Anything but {T}."),
)
YES_NO = (
    *(
        "{W}",
        "{w}",
        "{W}.",
        "{W}!",
        "{U}",
        '"{W}"',
        "**{W}**",
        "({W})",
        "{W}, it is.",
        "{W}, that is right.",
        "{w} ",
        "{W}\n",
    ),
    *(
        "{W}, there is no effusion.",
        "{W}, there is no sign of it.",
        "{W}. There is no fracture.",
        "{W}, no fracture is seen.",
    ),
    *(
        "{W}, the heart is enlarged.",
        "{W}; the lungs are clear.",
        "{W} - the liver is large.",
        "{W}: it lies on the left.",
    ),
    *(
        "{W}, but there is no fracture.",
        "{W}, although it is not clear.",
        "{W}, I cannot see an edge.",
        "{W}, I think.",
    ),
    *(
        "{W}\n\nExplanation: there is no edge.",
        "{W}\nReason: the lungs are not clear.",
        "{W} because the edge is not sharp.",
    ),
    *(
        "The answer is {w}.",
        "The answer is {W}",
        "The answer is: {W}",
        "Answer: {W}",
        "Answer: {W}, there is no air.",
        "answer: {w}",
    ),
    *(
        "The correct answer is {w}.",
        "My answer is {w}.",
        "Final answer: {W}",
        "I would say {w}.",
        "I'd say {w}.",
        "I think {w}.",
    ),
    *(
        "Based on the image, {w}.",
        "In short, {w}.",
        "Looking at the image, the answer is {w}.",
        "So the answer is {w}.",
    ),
    *(
        "\\boxed{{{W}}}",
        "\\boxed{{\\text{{{w}}}}}",
        "<answer>{W}</answer>",
        '{{"answer": "{w}"}}',
        "$\\text{{{W}}}$",
        "`{W}`",
    ),
    *(
        "{Z}",
        "{Z}。",
        "{Z}，左侧有结节。",
        "答案是：{Z}",
        "答案：{Z}",
        "答案为{Z}。",
        "{Z}，没有积液。",
        "{Z}，但是不明显。",
        "回答：{Z}。",
    ),
)
NOT_YES_NO = (
    *(
        "yes and no",
        "Yes or no",
        "yes/no",
        "No and yes.",
        "Neither yes nor no.",
        "I cannot say yes or no.",
        "not yes",
        "Not {w}.",
    ),
    *(
        "I would not say {w}.",
        "The answer is not {w}.",
        "I cannot say {w}.",
        "It cannot be determined.",
        "Maybe.",
        "unclear",
        "",
    ),
    *(
        "{W}... wait, {V}.",
        "{W}. Actually, {v}.",
        "{W}, {v}",
        "{W}? {V}?",
        "No, but yes on the left.",
        "I don't know.",
        "nope",
    ),
    *(
        "<think>{W}",
        "<think>{W}.</think>",
        "<answer>{W}</answer><answer>{V}</answer>",
        "是否",
        "不是",
        "无法判断",
        "是不是肝脏？",
    ),
    *(
        "可能。",
        "不能确定是否有结节。",
        "这是正常的。",
        "但是不清楚",
        "normal",
        "The yesterday scan was better.",
        "Notable findings.",
    ),
    *(
        "It depends: yes on the left, no on the right.",
        "on the left yes, on the right no",
        "Whether yes or no is unclear.",
    ),
    *("是或否", "否则要看左侧。", "See image no. 3.", "The eyes are closed."),
)
BOXES = (
    *(
        "[{c}]",
        "({c})",
        "[{d}]",
        "[[{c}]]",
        "[ {s} ]",
        "{c}",
        "{s}",
        "[{c}].",
        "It lies at [{c}].",
        "The box is [{c}].",
    ),
    *("The bounding box is [{c}].", "Bounding box: [{c}]", "Bounding box: {c}", "bbox = [{c}]", "Coordinates: ({c})"),
    *(
        "<box>({h}),({e})</box>",
        "<ref>the {n}</ref><box>({h}),({e})</box>",
        "<ref>{n}</ref><box>[[{c}]]</box>",
        "<box>{c}</box>",
    ),
    *(
        "<|box_start|>({h}),({e})<|box_end|>",
        "<|object_ref_start|>{n}<|object_ref_end|><|box_start|>({h}),({e})<|box_end|>",
    ),
    *(
        '{{"bbox_2d": [{c}]}}',
        '[{{"bbox_2d": [{c}], "label": "{n}"}}]',
        '```json\n[{{"bbox_2d": [{c}], "label": "{n}"}}]\n```',
    ),
    *(
        '<answer>{{"bbox_2d": [{c}]}}</answer>',
        '<think>Maybe [1, 2, 30, 40].</think><answer>[{{"bbox_2d": [{c}]}}]</answer>',
    ),
    *('{{"bbox": [{c}]}}', '{{"box": [{c}], "score": 0.9}}', '{{"label": "{n}", "bbox": [{c}], "confidence": 0.87}}'),
    *("<|ref|>{n}<|/ref|><|det|>[[{c}]]<|/det|>", "{n} [{c}]", "{n}: [{c}]", "<bbox>{c}</bbox>", "<bbox>[{c}]</bbox>"),
    *(
        "[{c}, 0.95]",
        "[{c}, 0.5]",
        "({c}, 0.99)",
        "[{c}], 0.9",
        "[{c}] with confidence 0.87",
        "[{c}] (score: 0.9)",
        "0.93 [{c}]",
    ),
    *(
        '["{n}", {c}]',
        '[{c}, "{n}"]',
        "[{c}, 88%]",
        "[{p}]",
        "{{{c}}}",
        "[{k}]",
        "［{f}］",
        "**[{c}]**",
        "$[{c}]$",
        "`[{c}]`",
    ),
    *("from ({h}) to ({e})", "({h}), ({e})", "[[{h}], [{e}]]", "top-left ({h}), bottom-right ({e})", "(({h}), ({e}))"),
    *("The top left corner is ({h}) and the bottom right corner is ({e}).", "upper left: ({h}), lower right: ({e})"),
    *(
        "x1={a}, y1={b}, x2={x}, y2={y}",
        '{{"x1": {a}, "y1": {b}, "x2": {x}, "y2": {y}}}',
        "x1: {a} y1: {b} x2: {x} y2: {y}",
    ),
    *('{{"xmin": {a}, "ymin": {b}, "xmax": {x}, "ymax": {y}}}', "x_min: {a}, x_max: {x}, y_min: {b}, y_max: {y}"),
    *(
        "\\boxed{{[{c}]}}",
        "坐标：[{c}]",
        "边界框为[{c}]。",
        "位置是（{f}）",
        "The image shows 2 organs; the {n} is at [{c}].",
    ),
    *(
        "[{i}] is wrong, better [{c}]",
        "At (12, 30) one sees the {n}: [{c}]",
        "In slice 12 of 40: [{c}]",
        "[{c}] and nothing else.",
    ),
)
NOT_BOXES = (
    *(
        "[{i}]",
        "({i})",
        "<box>({e}),({h})</box>",
        '{{"bbox_2d": [{i}]}}',
        "[{a}, {b}, {x}]",
        "[{a}, {b}]",
        "({h})",
        "[{c}, {a}]",
    ),
    *(
        "[{c}, {a}, {b}]",
        "[0.95, {c}]",
        "[NaN, {b}, {x}, {y}]",
        "[{a}, {b}, nan, {y}]",
        "[1e999, {b}, {x}, {y}]",
        "[]",
        "none",
    ),
    *(
        "I cannot see it.",
        "",
        "<think>[{c}]",
        "<think>[{c}]</think>",
        '{{"bbox_2d": null}}',
        '{{"box_2d": [{c}]}}',
        "0.95",
        "[0.95]",
    ),
    *(
        "[[{h}], [{x}, {b}], [{e}], [{a}, {y}]]",
        "<quad>({h}),({x}, {b}),({e}),({a}, {y})</quad>",
        "[{a}, {b}, {a}, {y}]",
        "({h}), (7, 8), ({e})",
    ),
    *(
        "[{a}%, {b}, {x}, {y}]",
        "The image is 512 x 512.",
        "[a, b, c, d]",
        "x1={a}, y1={b}, x2={x}",
        "slices {a}-{x}",
        "[{a} {b} {x}]",
    ),
    *(
        "<loc0123><loc0045><loc0678><loc0900>",
        "[{c}",
        "confidence 0.9, 0.8, 0.7, 0.6 for four findings",
        "top-left ({h})",
    ),
)
JUDGED = (
    *(
        "Score: {N}",
        "Score: {N}.",
        "score: {N}",
        "SCORE: {N}",
        "Score:{N}",
        "Score = {N}",
        "Score - {N}",
        "Score {N}",
        "Score：{N}",
    ),
    *(
        "**Score**: {N}",
        "**Score:** {N}",
        "Score: **{N}**",
        "**Score: {N}**",
        "# Score\n{N}",
        "### Score: {N}",
        "Score:\n{N}",
    ),
    *(
        "Score (0-100): {N}",
        "Score (0 - 100): {N}",
        "Score [0, 100]: {N}",
        "Score (from 0 to 100): {N}",
        "Score (out of 100): {N}",
    ),
    *(
        "Score: {N}/100",
        "Score: {N} / 100",
        "Score: {N} out of 100",
        "{N}/100",
        "{N} out of 100",
        "Score: {N}%",
        "{N}%",
        "Score: {N} of 100",
    ),
    *(
        "Score: {R}/10",
        "{R}/10",
        "Score: {R} out of 10",
        "Score (0-10): {R}",
        "On a scale of 0 to 100, the score is {N}.",
    ),
    *(
        "The score is {N}.",
        "The score is {N} out of 100.",
        "The score would be {N}.",
        "The score should be {N}.",
        "The score is about {N}.",
    ),
    *(
        "I would give a score of {N}.",
        "I give a score of {N}/100.",
        "I would rate it {N}/100.",
        "I assign {N} points.",
        "I give it {N}%.",
    ),
    *(
        '{{"score": {N}}}',
        '```json\n{{"score": {N}, "reason": "3 of 4 findings match"}}\n```',
        "{{'score': {N}}}",
        "\\boxed{{{N}}}",
    ),
    *(
        "<answer>{N}</answer>",
        "<score>{N}</score>",
        "Score: `{N}`",
        "Score: $\\boxed{{{N}}}$",
        "Rating: {N}",
        "Final score: {N}",
        "{N}",
    ),
    *(
        "Score: {N}. 3 of 4 findings match.",
        "Score: {N}, because 3 of 4 findings match.",
        "Score: {N}\n\nReason: 2 errors.",
    ),
    *(
        "Score: {N}\n\nA score of 100 would need the side.",
        "2 of 5 findings are missing. Score: {N}",
        "Accuracy: 3/4. Score: {N}",
    ),
    *("Criteria: 0 = wrong, 100 = right.\nScore: {N}", "A score of 0 means wrong, 100 means perfect.\nScore: {N}"),
    *("Accuracy score: {M}\nStyle score: 35\nOverall score: {N}", "Score: {M}... on reflection. Final score: {N}"),
    *(
        "<think>A score of 10 would be too low.</think>Score: {N}",
        "<think>Score: {M}?</think>\n\nScore: {N}",
        "GPT-4 score: {N}",
    ),
    *(
        "评分：{N}",
        "评分: {N}分",
        "得分：{N}",
        "得分为{N}。",
        "分数：{N}/100",
        "总分：{N}分",
        "最终得分：{N}",
        "评分（0-100）：{N}",
    ),
)
NOT_JUDGED = (
    *(
        "Score: {M}-{N}",
        "Score: {M} to {N}",
        "Score: between {M} and {N}",
        "The score is between {M} and {N}.",
        "Score: {M}~{N}",
    ),
    *(
        "Score: {M} or {N}",
        "Score: {N} ± 5",
        "Score: {M}, {N}",
        "Scores: {M} and {N}",
        "Score: xx",
        "Score: high",
        "Score:",
        "no idea",
    ),
    *(
        "",
        "Score: 0-100",
        "A score of 10 would be too low.",
        "I cannot give a score of {N}.",
        "The score is above {M}.",
        "Score: at least {M}",
    ),
    *(
        "The score is less than {N}.",
        "Score: {M}\nScore: {N}",
        "Score A: {M}\nScore B: {N}",
        "Accuracy score: {M}\nStyle score: {N}",
    ),
    *(
        "<think>Score: {N}",
        "<think>Score: {N}</think>",
        "<answer>{M}</answer><answer>{N}</answer>",
        "3 of 4 findings match.",
        "2 errors",
    ),
    *(
        "Score: 3 of 4",
        "Score: 3 out of 4 findings",
        "Score (1-5): 4",
        "Score (1-10): 7",
        "The answer has 3 findings.",
        "Sorry, I can't.",
    ),
    *(
        "无法评分",
        "评分在{M}到{N}之间",
        "评分：{M}-{N}",
        "The score should not be {N}.",
        "No score of {N} is justified.",
        "{M} {N}",
    ),
)

_REASONING = (
    "<think>{r}</think>",
    "<think>\n{r}\n</think>\n\n",
    "{r}</think>\n",
    "<thinking>{r}</thinking>",
    "<reasoning>{r}</reasoning>\n",
    "< THINK >{r}</ think >",
    "<unused94>thought\n{r}<unused95>",
    "<|begin_of_thought|>{r}<|end_of_thought|>",
    "◁think▷{r}◁/think▷",
    "[THINK]{r}[/THINK]",
    "<think>{r}</think><think>{r}</think>",
    "<|channel|>analysis<|message|>{r}<|end|><|start|>assistant<|channel|>final<|message|>",
)
_WRAPPINGS: Sequence[Callable[[str], str]] = (
    lambda text: f"<answer>{text}</answer>",
    lambda text: f"<answer>\n{text}\n</answer>",
    lambda text: f"**{text}**",
    lambda text: f"```\n{text}\n```",
    lambda text: f"\ufeff{text}\u200b",
    lambda text: text.replace(" ", "\u00a0"),
    lambda text: text.replace("'", "’"),
    lambda text: f"{text}<|im_end|>",
    lambda text: f"\n\n  {text}\n",
    lambda text: "".join(chr(ord(one) + 0xFEE0) if "0" <= one <= "9" or "A" <= one <= "Z" else one for one in text),
)
_SHARE_OF_TRAPS = 0.3


def _dressed(random: Random, text: str, reasoning: str) -> str:
    """Return the text as it is, or within wrapping, or behind reasoning that says something else, or both."""
    bare = not any(mark in text for mark in ("<", "```", "**", "\\", "{", "`", "\n", "$"))
    if bare and text.strip() and random.random() < 0.35:
        text = random.choice(_WRAPPINGS)(text)
    if "<think>" not in text and random.random() < 0.3:
        text = random.choice(_REASONING).format(r=reasoning) + text
    return text


def _phrases(random: Random, count: int, meant: Sequence[str], traps: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield phrases and whether each has a meaning; every phrase comes up, in an order of the seed."""
    for place in range(count):
        trap = random.random() < _SHARE_OF_TRAPS
        phrases = traps if trap else meant
        yield phrases[place % len(phrases)], not trap


def choice_replies(seed: int, count: int, *, by_text: bool) -> Iterator[Reply]:
    """Yield replies to questions with options, which name one by its letter or, `by_text`, by its text."""
    random = Random(seed)
    phrases = (TEXTS, NOT_TEXTS) if by_text else (LETTERS, NOT_LETTERS)
    for phrase, has_meaning in _phrases(random, count, *phrases):
        options = random.choice(OPTIONS)
        one, other, third = random.sample(range(len(options)), 3)
        letters = "ABCDEFGHIJ"
        fields = {
            "L": letters[one],
            "l": letters[one].lower(),
            "O": letters[other],
            "Q": letters[third],
            "T": options[one],
            "t": options[one].lower(),
            "P": options[other],
            "A": "\n".join(f"{letter}. {option}" for letter, option in zip(letters, options, strict=False)),
        }
        text = _dressed(
            random, phrase.format(**fields), f"It could be {letters[other]}. The answer is {options[other]}?"
        )
        yield Reply(text, letters[one] if has_meaning else None, options)


def yes_no_replies(seed: int, count: int) -> Iterator[Reply]:
    """Yield replies that answer yes or no."""
    random = Random(seed)
    for phrase, has_meaning in _phrases(random, count, YES_NO, NOT_YES_NO):
        word, other, chinese = random.choice((("yes", "no", "是"), ("no", "yes", "否")))
        fields = {"w": word, "W": word.title(), "U": word.upper(), "v": other, "V": other.title(), "Z": chinese}
        text = _dressed(random, phrase.format(**fields), f"{other.title()}, or perhaps {word}. No edge is seen.")
        yield Reply(text, word if has_meaning else None)


def box_replies(seed: int, count: int) -> Iterator[Reply]:
    """Yield replies that give a box x1 y1 x2 y2 in pixels."""
    random = Random(seed)
    for phrase, has_meaning in _phrases(random, count, BOXES, NOT_BOXES):
        low = [random.randrange(2, 200) for _ in range(2)]
        high = [start + random.randrange(5, 200) for start in low]
        corners = (*low, *high)
        decimal = random.random() < 0.2
        written = [f"{value}.5" if decimal else str(value) for value in corners]
        meaning = tuple(value + 0.5 if decimal else float(value) for value in corners)
        fields = {
            **dict(zip("abxy", written, strict=True)),
            "c": ", ".join(written),
            "d": ",".join(written),
            "s": " ".join(written),
            "k": "; ".join(written),
            "f": "，".join(written),
            "p": ", ".join(f"{value}px" for value in written),
            "h": ", ".join(written[:2]),
            "e": ", ".join(written[2:]),
            "i": ", ".join(written[2:] + written[:2]),
            "n": random.choice(("liver", "left lung", "tumour", "肝脏")),
        }
        text = _dressed(random, phrase.format(**fields), "The first guess [3, 4, 50, 60] is too low.")
        yield Reply(text, meaning if has_meaning else None)


def judge_replies(seed: int, count: int) -> Iterator[Reply]:
    """Yield replies of a judge who gives a score from 0 to 100."""
    random = Random(seed)
    for phrase, has_meaning in _phrases(random, count, JUDGED, NOT_JUDGED):
        score, lower = random.randrange(41, 100), random.randrange(11, 40)
        fields = {"N": score, "M": lower, "R": f"{score / 10:.1f}"}
        text = _dressed(random, phrase.format(**fields), f"A score of {lower} would be too low.")
        yield Reply(text, float(score) if has_meaning else None)
