"""Two hundred strings that want to be more than text: each shows itself by running script (`pwned`), by an element, or by breaking a format."""
RUN = "window.pwned={n}"
MARKUP = [
    "<script>{run}</script>", "<img src=x onerror={run}>", "<svg onload={run}>", "<x-pwned>{n}</x-pwned>", "<b id=pwned>{n}</b>",
    "<iframe srcdoc='<script>parent.pwned={n}</script>'>", "<iframe src=javascript:{run}>", "<body onload={run}>", "<input autofocus onfocus={run}>",
    "<details open ontoggle={run}>", "<video><source onerror={run}>", "<audio src=x onerror={run}>", "<a href=javascript:{run}>{n}</a>",
    "<math><mtext><img src=x onerror={run}>", "<svg><script>{run}</script></svg>", "<svg><animate onbegin={run} attributeName=x>",
    "<object data=javascript:{run}>", "<embed src=javascript:{run}>", "<base href=//evil.invalid/>", "<meta http-equiv=refresh content='0;url=//evil.invalid'>",
    "<link rel=stylesheet href=//evil.invalid/x.css>", "<style>*{{display:none}}</style>", "<form action=//evil.invalid><button>{n}", "<marquee onstart={run}>",
    "<select autofocus onfocus={run}>", "<template><script>{run}</script></template>", "<noscript><img src=x onerror={run}></noscript>",
    "</title><script>{run}</script>", "</textarea><script>{run}</script>", "</style><script>{run}</script>", "--><script>{run}</script>",
    "]]><script>{run}</script>", "<!--<img src=--><img src=x onerror={run}//>", "<img src='x' onerror='{run}' x='", "<scr<script>ipt>{run}</scr</script>ipt>",
    "<SCRIPT/x>{run}</SCRIPT>", "<img/src/onerror={run}>", "<img src=x onerror\n=\n{run}>", "%3Cscript%3E{run}%3C/script%3E", "&lt;script&gt;{run}&lt;/script&gt;",
    "&#60;img src=x onerror={run}&#62;", "\\u003cscript\\u003e{run}\\u003c/script\\u003e", "<ſcript>{run}</ſcript>", "＜script＞{run}＜/script＞",
]
ATTRIBUTES = [
    "\" onmouseover=\"{run}", "' onmouseover='{run}", "\" autofocus onfocus=\"{run}\" x=\"", "` onerror={run} ", "\"><img src=x onerror={run}>", "'><svg onload={run}>",
    "\" style=\"position:fixed;inset:0;background:red\" x=\"", "x\" id=\"pwned", "javascript:{run}", "JaVaScRiPt:{run}", "java\tscript:{run}", "data:text/html,<script>{run}</script>",
    "vbscript:{run}", "//evil.invalid/{n}", "\\\\evil.invalid\\{n}", "url(javascript:{run})", "expression({run})", "}}</style><script>{run}</script>", ";{run}//", "*/{run}/*",
]
TEMPLATES = [
    "{{{{constructor.constructor('{run}')()}}}}", "${{{run}}}", "#{{{run}}}", "<%= {run} %>", "{{{{{n}*{n}}}}}", "{{@html '<img src=x onerror={run}>'}}", "{{#if 1}}{n}{{/if}}",
    "[[{n}]]", "@{{{n}}}", "%{{{n}}}", "%s%s%n%d", "%00%0a{n}", "$(touch /tmp/pwned)", "`touch /tmp/pwned`", "; touch /tmp/pwned", "| touch /tmp/pwned", "&& touch /tmp/pwned",
    "' OR 1=1 --{n}", "\"; DROP TABLE device; --{n}", "{{\"__proto__\":{{\"pwned\":{n}}}}}", "__proto__", "constructor", "toString", "hasOwnProperty", "prototype", "null",
    "undefined", "NaN", "true", "-1", "0", "1e309", "../../../../etc/passwd", "..\\..\\windows", "/etc/passwd\0.png", "file:///etc/passwd", "http://169.254.169.254/{n}",
]
FORMULAS = ["=cmd|'/c calc'!A{n}", "+cmd|'/c calc'!A{n}", "-2+3+cmd|'/c calc'!A{n}", "@SUM(1+{n})", "=HYPERLINK(\"http://evil.invalid\",\"{n}\")", "\t=1+{n}", "\r=1+{n}",
            "=IMPORTXML(\"http://evil.invalid\",{n})", "\",=1+{n},\"", "a,b;c|d{n}"]
LINES = ["a\r\nSet-Cookie: pwned={n}", "a\r\n\r\n<script>{run}</script>", "a\nb{n}", "a\rb{n}", "a\u2028{run}", "a\u2029{run}", "a\u0085b{n}", "a\vb{n}", "a\fb{n}", "\n\n\n{n}",
         "a\0b{n}", "\0", "\x08\x08\x08{n}", "\x7f{n}", "a\x1fb{n}"]
ESCAPES = [
    "\x1b[31mred{n}\x1b[0m", "\x1b[2J\x1b[H{n}", "\x1b]0;pwned{n}\x07", "\x1b]2;pwned{n}\x1b\\", "\x1b]52;c;cHduZWQ=\x07{n}", "\x1b]8;;javascript:{run}\x07click{n}\x1b]8;;\x07",
    "\x1b]8;;http://evil.invalid/{n}\x1b\\click\x1b]8;;\x1b\\", "\x1b[6n{n}", "\x1b[c{n}", "\x1b[>c", "\x1b[21t{n}", "\x1b[3;0;0t", "\x1b[8;1000;1000t{n}", "\x1bP$qm\x1b\\{n}",
    "\x1b]4;1;?\x07{n}", "\x1b]10;?\x07{n}", "\x1b]1337;File=inline=1:AAAA\x07{n}", "\x1b]7;file://evil.invalid/{n}\x07", "\x1b]133;A\x07{n}", "\x1b#8{n}", "\x1bc{n}",
    "\x1b[?1049h{n}", "\x1b[?1000h{n}", "\x1b[?2004h{n}", "\x1b[999999999;999999999H{n}", "\x1b[999999999b{n}", "\x1b[999999999L{n}", "\x1b[999999999@{n}",
    "\x1b_Gf=100;AAAA\x1b\\{n}", "\x1bPq#0;2;0;0;0#0~~\x1b\\{n}", "\x1b^pm{n}\x1b\\", "\x1bX{n}\x1b\\", "\x9b31m{n}", "\x9d0;pwned{n}\x9c", "\x90q\x9c{n}", "\x05{n}",
    "\x1b[38;2;1;2;3m{n}", "\x1b[38;5;999m{n}", "\x1b[;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;m{n}", "\x1b[" + "1;" * 40 + "m{n}",
]
DIRECTIONS = ["\u202etxt.exe{n}", "\u2066{n}\u2067x\u2069", "\u200f{n}", "\u061c{n}", "\u200b{n}", "\ufeff{n}", "שלום{n}", "مرحبا{n}", "e\u0301\u0301\u0301\u0301\u0301\u0301{n}", "Z͑ͫ̓ͪ̂ͫ̽͏{n}",
              "\U0001f468\u200d\U0001f469\u200d\U0001f467{n}", "ｗｉｄｅ{n}", "\u0430dmin{n}", "\ue000{n}", "\U000e0001{n}", "a" * 60 + "{n}", " " * 60 + "{n}", "\u3000{n}"]
LONG = ["A" * 4096 + "{n}", "<b>" * 1000 + "{n}", "𝕏" * 2000, "\u0301" * 2000, "W" * 100000]


def texts():
    """The strings, each with its number."""
    forms = MARKUP + ATTRIBUTES + TEMPLATES + FORMULAS + LINES + ESCAPES + DIRECTIONS + LONG
    return [form.format(n=n, run=RUN.format(n=n)) for n, form in enumerate(forms, 1)] + ["B" * (1 << 20)]


# In `bytes` fields, and on the wire in `string` fields too: it is for the reader to refuse them.
BROKEN = [b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"abc\x80", b"\xe2\x28\xa1", b"\xf4\x90\x80\x80", b"<img src=x onerror=window.pwned=1>\xff", b"\xc3", b"\x00\xff\x00"]


def cut(text, size):
    """The longest beginning that fits into a field of this `max_size` (proto/*.options), which counts an end mark."""
    return text.encode()[:size - 1].decode(errors="ignore")
