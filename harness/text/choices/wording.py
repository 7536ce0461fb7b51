"""How replies to questions with options are worded: what asserts, denies and lists letters and texts."""

import re
from collections.abc import Mapping

_NOUN = (
    r"(?:answers?|ans|options?|choices?|selections?|picks?|diagnosis|letters?|alternatives?|one|conclusion|response|prediction|verdict"
    r"|decision)"
)
_VERB = (
    r"(?:choose|chose|chosen|choosing|select(?:ed|ing)?|pick(?:ed|ing)?|go(?:ing)?\s+(?:with|for)|opt(?:ing)?\s+for"
    r"|vote\s+for|say|guess|answer|believe|think|conclude|lean(?:ing)?\s+towards?|settle\s+(?:on|for)|corresponds?\s+to|match(?:es)?|favou?r|mean|looks?\s+like|seems?\s+like)"
)
_ADVERB = (
    r"(?:(?:(?:most|very)\s+)?(?:likely|probably|definitely|certainly|clearly|therefore|thus|hence|indeed|obviously"
    r"|simply|actually|still|just|also|then|possibly|perhaps|maybe|surely|evidently)\s*,?\s+)*"
)
_UNIT = r"(?:(?:(?:the|an|either|that\s+of|labell?ed|as)\s+)*(?:option|choice|answer|letter|alternative)s?\s*:?\s*)?"
_BE = r"(?:is|are|was|(?:must|should|would|will|could|can|may|might|has\s+to|seems?\s+to|appears?\s+to)\s+be|be)"
# What stands right before a letter or a text that is asserted.
STATES = re.compile(
    rf"(?:\b{_NOUN}\b[^:=\n]{{0,70}}?(?:\b{_BE}\b|'s\b|:|=|->|→|\s-)(?:\s*,[^,\n]{{0,30}},)?\s*[\"']?{_ADVERB}(?:(?:the|an?)\s+)?{_UNIT}"
    r"|\b(?:answer|ans|option|choice|selection|pick|letter|alternative)s?[\"'\]】)]*\s*:?\s*"
    rf"|\b{_VERB}\s+(?:(?:that|it|it's|is|the|an?|on|for|with)\s+)*{_ADVERB}{_UNIT}"
    rf"|\b(?:it|this|that|which)(?:'s|\s+{_BE})\s+{_ADVERB}(?:(?:the|an?)\s+)?{_UNIT}"
    r"|\b(?:so|thus|hence|therefore|probably|definitely|likely|clearly|certainly|maybe|perhaps|possibly|sure|ok|okay|final"
    rf"|overall|correct|best|but|instead|actually|rather|correction|wait|sorry|choose|select|pick)\s*[,:]?\s+(?:it's\s+|it\s+is\s+)?{_UNIT}"
    rf"|^\W*(?:the|this)\s+(?:structure|organ|finding|lesion|abnormality|plane|modality|image)(?:\s+(?:shown|seen|depicted"
    rf"|marked)|\s+in\s+(?:the|this)\s+image)*\s+(?:is|appears\s+to\s+be)\s+{_ADVERB}(?:(?:the|an?)\s+)?{_UNIT}"
    rf"|(?:=>|->|→)\s*{_UNIT}"
    rf"|\b(?:given|based\s+on|considering|after|judging\s+by|looking\s+at|from)\b[^,\n]{{0,60}},\s*{_ADVERB}{_UNIT}"
    r"|(?:答案[】\]]?|选项|选择|应选|应该选|故选|我选|选|应为|正确的?|认为|可能的?|最佳的?(?:选项|答案)?|结果|结论)(?:应该|应当|应)?(?:是|为|选)?\s*[:=]?\s*(?:选项)?"
    r"|(?:^|[,，、]\s*|而|应该|应当|应|就|那么|因此|所以|则)(?:是|为|选择?)\s*(?:选项)?"
    r")\s*$",
    re.IGNORECASE,
)
LOWER = re.compile(
    rf"(?:\b(?:answer|ans|option|choice)s?\b(?P<link>\s*{_BE}\b\s*:?|\s*[:=])?\s*(?:\b(?:option|choice)\s*)?"
    rf"|^\W*(?:the|this)\s+(?:structure|organ|finding|lesion|abnormality|plane|modality|image)(?:\s+(?:shown|seen|depicted"
    rf"|marked)|\s+in\s+(?:the|this)\s+image)*\s+(?:is|appears\s+to\s+be)\s+{_ADVERB}(?:(?:the|an?)\s+)?{_UNIT}"
    rf"|(?:=>|->|→)\s*{_UNIT}"
    rf"|\b(?:given|based\s+on|considering|after|judging\s+by|looking\s+at|from)\b[^,\n]{{0,60}},\s*{_ADVERB}{_UNIT}"
    r"|(?:答案[】\]]?|选项|选择|选)(?P<cjk>是|为|:)?\s*)"
    r"(?P<open>[\"'(\[]*)(?P<letter>[a-z])(?=[\"')\]]*\s*(?:[.,;:)!?。，；\n]|\]|$))",
    re.IGNORECASE,
)
LOWER_LEADING = re.compile(r"[(\[]?([a-z])[)\].:、]+\s*")
UPPER = re.compile(r"(?<![A-Za-z0-9_./\\&-])(?<![A-Za-z]')([A-Z])(?![A-Za-z0-9_]|'[A-Za-z])")
LONE = re.compile(r"(?<![A-Za-z0-9_'])([A-Z])(?![A-Za-z0-9_]|'[A-Za-z])")
NEXT = re.compile(
    r"[\"')\]}]*\s*\(?\s*(?:,|/|、|&|;|\bor\b|\band\b|\bnor\b|\bversus\b|\bvs\b\.?|或者?(?:\s*选)?|和|与|及)\s*"
    r"(?:(?:or|and|nor|possibly|maybe|perhaps|probably|even|either|also|option|choice|answer|the)\s+)*[\"'(\[{]*"
    r"([A-Z])(?![A-Za-z0-9_]|['-][A-Za-z]|[\"')\]}]*\s+(?:is|was|isn't|wasn't|can|cannot|can't|would|does|seems)\b)"
)
DENIES = re.compile(
    r"\b(?:not|never|neither|nor|cannot|no|without|instead\s+of|rather\s+than|other\s+than|except|against|incorrect|wrong"
    r"|unlikely|than|false|avoid|excluding|excludes?|excluded|exclusion|eliminat\w+|rul(?:e|es|ed|ing)\s+out"
    r"|reject\w*|discard\w*|dismiss\w*|unlike|doubt|less|(?:all|any(?:thing)?|every(?:thing)?|none)\s+but|least"
    # What was thought before, and what others may think, is not what the reply says.
    r"|(?:initially|originally|previously|(?:at\s+)?first)\s+(?:i\s+|we\s+)?(?:thought|guess\w*|believed|considered|chose"
    r"|suspected|assumed|said)|(?:some|many|others|people|students)\s+(?:may|might|could|would|often|will|think|choose))\b"
    r"|n't\b|不|非|除|否定|错|没有|无法|未|别选|勿选",
    re.IGNORECASE,
)
# What holds only if something else did.
HYPOTHETICAL = re.compile(r"\b(?:if|unless)\b[^.]*\b(?:would|were)\b|\bwould\s+have\s+been\b", re.IGNORECASE)
NO_DENIAL = re.compile(
    r"\b(?:no|without(?:\s+an?y?)?|beyond)\s+doubt\b|无疑|毫无疑问",
    re.IGNORECASE,
)
_WRONG = (
    r"(?:incorrect|wrong|false|untrue|unlikely|excluded|eliminated|ruled\s+out|rejected|discarded|dismissed|impossible"
    r"|improbable|inconsistent|implausible|inaccurate|mistaken?|an?\s+error|unsuitable|inappropriate|less\s+likely|not\b|never\b|out\b|no\b)"
)
# What stands right behind a letter or a text that is denied.
DENIED = re.compile(
    rf"[\s\"')\]}}]*(?:(?:选项|项)?(?:是|为)?\s*(?:不|错|有误|排除|可以?排除|被排除)"
    rf"|[\s:=,(→>?？\"'-]*(?:{_WRONG}(?<!not)(?<!no)(?<!out)|not\s+(?:correct|right|likely)(?=\s*(?:[.,;!?)]|$))"
    r"|no\s*(?:[.!,;\"']|$)|[✗✘×❌])"
    rf"|,?\s*(?:which\s+|that\s+)?(?:(?:is|are|was|were|seems?|looks?|appears?|has|have|had|does|do|did|must|may|might"
    rf"|can|could|would|should|will)\b[^.;,\n]{{0,30}}?(?:\b{_WRONG}|n't\b)|cannot\b|fails?\b|(?:is|are|was|were|does|do|did|ca"
    rf"|could|wo|would|has)n't\b|doesn't\b))",
    re.IGNORECASE,
)
# The same behind an option's text, of which "is not enlarged" denies nothing.
CALLED_WRONG = re.compile(
    rf"[\s\"')\]}},]*(?:[\s:=(-]*(?:{_WRONG}(?<!not)(?<!no)(?<!out)|[✗✘×❌])|(?:is|are|was|were|would\s+be|seems?|has\s+been"
    rf"|have\s+been|can\s+be|could\s+be|must\s+be)\s+(?:\w+\s+)?(?:{_WRONG}(?<!not)(?<!no)(?<!out)"
    rf"|not\s+(?:the\s+)?(?:correct|right|best|answer|likely))|(?:是)?(?:错|不正确|不对|有误))",
    re.IGNORECASE,
)
CONFIRMED = re.compile(
    r"[\"')\]}]*\s*(?:,\s*)?(?:(?:is|would\s+be|seems|appears|looks|must\s+be|should\s+be)\s+(?:(?:the|my|a|most|very|also"
    r"|clearly|definitely|likely|single|only)\s+)*(?:correct|right|best|answer|true|appropriate|likely|consistent|accurate"
    r"|probable|choice|option|final|one)\b|(?:fits|matches|describes)\s+(?:\w+\s+){0,3}best\b"
    r"|best\s+(?:fits|matches|describes)\b|it\s+is\s*(?:$|[.!])|(?:选项|项)?(?:是|为)?(?:正确|对的|最佳|答案))",
    re.IGNORECASE,
)
# An option that may be right, too, leaves open which one is meant.
POSSIBLE = re.compile(
    r"[\"')\]}]*\s*(?:(?:is|seems|looks|appears|might\s+be|may\s+be|could\s+be)\s+(?:also\s+|equally\s+)*(?:possible|plausible"
    r"|conceivable)|(?:could|may|might)\s+(?:also\s+)?(?:be|fit|apply)|也有可能|也可能)",
    re.IGNORECASE,
)
# Words that may follow a letter, but not an article or a pronoun of the same letter: "a given", "I would".
_VERBS = r"is|was|would|seems|looks|appears|must|should|has|fits|matches|it"
CONNECTIVE = re.compile(
    rf"{_VERBS}|because|since|and|as|due|given|based|which|for|not|but|rather|instead|here|from|with|in|on|that|where"
    r"|when|if|while|though|although|indicating|showing|representing|corresponding|meaning|so|then|over|best"
)
LEADS = ("mark", "end", "own", "leading")
WORD_CONNECTIVES: Mapping[str, re.Pattern[str]] = {
    "A": re.compile(rf"{_VERBS}|because|since|and|which"),
    "I": re.compile("is"),
}
CJK_FOLLOWER = re.compile(r"选项|项|是|为|正确|对|最|更|符合|因|而|不|错|有误|也|可|被|[\u3000-\u303f\uff00-\uffef]")
# An option before this one is left open by "or".
ALTERNATIVE = re.compile(r"(?<![A-Za-z'-])[A-Z]\b[^.!?]{0,20}\bor\b(?:(?!\bbut\b)[^.!?]){0,30}$")
AGAINST = re.compile(r"(?:rather\s+than|instead\s+of|not|over)\s+(?:option\s+)?[\"'(\[]*[A-Z](?![A-Za-z0-9])")
LEADING_WORDS = frozenset({"because", "since", "as", "due", "given", "based", "with"})
CLAUSE = re.compile(r"[.!?]\s|[。！？；;]|(?<![:：])\n")
PIECE = re.compile(
    r"[,，、]|\byet\b|\bhowever\b|\bwhereas\b|而是|而应"
    r"|(?<!all )(?<!any )(?<!none )(?<!anything )(?<!everything )\bbut\b",
    re.IGNORECASE,
)
BETWEEN = ")]}>\"' \t.:;,-([=、。，：；→*"
OPENERS, CLOSERS = "([{<\"' \t", ")]}>\"'"
MARKS = ".:;,!?)]。，、；：！？"
# Between an option's text and its letter: "Liver (B)", "Liver, which is option B".
NAMING = re.compile(
    r"(?:\s*[(\[,:-]+\s*(?:(?:which|that)\s+is\s+)?(?:the\s+)?(?:option|choice|letter|answer)?|\s+(?:option|choice|letter))"
    r"\s*:?\s*[(\[\"']*$",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?。]\s*$")
OTHER = re.compile(r"[\s:=-]+[\"'(\[]*([A-Z])[\"')\].,:]*(?:\s*$|\n)")
JOINED = re.compile(r"[)\"']*\s*(?:,|/|、|\bor\b|\band\b|或者?|和)\s*(?:(?:or|and|possibly|maybe)\s+)*")
# Between two options of a list: marks, line ends and perhaps a word that joins, in a few characters; no empty line in
# the narrower one.
_JOIN = r"(?=.{1,24}$)(?![ \t]*\Z)\W*(?:(?:or|and|nor|和|与|或者?|及)(?![a-z]))?\W*"
GAP = re.compile(rf"(?!.*\n[ \t]*\n){_JOIN}", re.DOTALL | re.IGNORECASE)
WIDE_GAP = re.compile(_JOIN, re.DOTALL | re.IGNORECASE)
# A list ends with its line or its sentence.
LINE_END = re.compile(r"[^\w\n]*(?:\n|\Z)")
LIST_END = re.compile(r"[^\w\n]*(?:\n|\Z)|[.!?。！？][\s)\]\"']")
MARKED = re.compile(r"(?<![A-Za-z0-9])([A-Z])\s*[.):、]\s*")
ARTICLE = re.compile(r"(?:the|an?)\s+", re.IGNORECASE)
BLANK_OR_MARK = re.compile(r"[\s.,;:!?()\[\]{}<>\"'`*、。，：；！？-]+")
# Species whose genus is written as a letter: "E. coli" and "C. difficile" name no option E or C.
SPECIES = re.compile(
    r"\.[ \t]*(?:abortus|aeruginosa|agalactiae|albicans|anthracis|aureus|avium|baumannii|bovis|botulinum|burgdorferi"
    r"|burnetii|canis|capsulatum|catarrhalis|cereus|cholerae|cloacae|coli|cruzi|dermatitidis|difficile|diphtheriae|donovani"
    r"|dubliniensis|duodenale|epidermidis|faecalis|faecium|falciparum|flavus|fragilis|fumigatus|glabrata|gondii"
    r"|gonorrhoeae|granulosus|haematobium|haemolyticus|hepatica|henselae|histolytica|immitis|influenzae|intestinalis|israelii"
    r"|japonicum|jejuni|jirovecii|kansasii|krusei|lamblia|leprae|lumbricoides|malariae|mansoni|marcescens|meningitidis"
    r"|mirabilis|monocytogenes|multilocularis|neoformans|niger|ovale|pallidum|parapsilosis|perfringens|pertussis|pestis"
    r"|pneumoniae|pneumophila|psittaci|pylori|pyogenes|rickettsii|saginata|sinensis|solium|spiralis|stercoralis|tetani"
    r"|trachomatis|trichiura|tropicalis|tuberculosis|typhi|typhimurium|vaginalis|vermicularis|viridans|vivax|vulnificus"
    r"|westermani)\b"
)
# A letter with a score before another one with a score: '"A": 0.1, "B": 0.9' chooses none of them.
SCORED = re.compile(r"[\"')]*\s*[:=]\s*[\"']?\d[\d.]*\s*%?[\"']?\s*[,;\n]?\s*[\"'(]*[A-Z][\"')]*\s*[:=]\s*[\"']?\d")
