//! The work for a file of any kind is linear in its size, not quadratic.
//!
//! Times would depend on the machine, so the tests count allocations, and for YAML the steps of the scanner as well.
#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::Cell;
use std::rc::Rc;

use allocation_counter::measure;
use saphyr_parser::{Input, Parser, StrInput};
use sidevault_sops::{Format, Identities, read};

/// How many times larger the large input is. Quadratic work would be 64 times as much.
const TIMES: usize = 8;

/// How many times the work may be. It is twice the growth, because buffers that double cost up to twice their size.
const MOST: u64 = 2 * TIMES as u64;

/// A size at which the constant part of the work does not matter.
const SMALL: usize = 200;

/// Inputs by name. Each is made in a given size.
type Shape = (&'static str, Format, fn(usize) -> String);

const SHAPES: &[Shape] = &[
    ("documents", Format::Yaml, |n| "---\na: 1\n".repeat(n)),
    ("empty documents", Format::Yaml, |n| "---\n".repeat(n)),
    ("keys", Format::Yaml, |n| lines(n, |at| format!("k{at}: v"))),
    ("quoted keys", Format::Yaml, |n| {
        lines(n, |at| format!("\"k{at}\": 'v'"))
    }),
    ("nested keys", Format::Yaml, |n| {
        lines(n, |at| format!("k{at}:\n  a:\n    b: [1, {{c: d}}]"))
    }),
    ("items", Format::Yaml, |n| format!("a:\n{}", "- x\n".repeat(n))),
    ("flow items", Format::Yaml, |n| format!("a: [{}]\n", "x, ".repeat(n))),
    ("flow keys", Format::Yaml, |n| {
        format!("{{{}}}\n", lines(n, |at| format!("k{at}: v,")))
    }),
    ("comments", Format::Yaml, |n| format!("a: 1\n{}", "# note\n".repeat(n))),
    ("comments beside values", Format::Yaml, |n| {
        lines(n, |at| format!("k{at}: v # note"))
    }),
    ("anchors", Format::Yaml, |n| lines(n, |at| format!("k{at}: &a{at} v"))),
    ("one anchor again", Format::Yaml, |n| {
        lines(n, |at| format!("k{at}: &a v"))
    }),
    ("aliases", Format::Yaml, |n| {
        format!("base: &a v\n{}", lines(n, |at| format!("k{at}: *a")))
    }),
    ("anchors, then documents", Format::Yaml, |n| {
        format!(
            "{}{}",
            lines(n, |at| format!("k{at}: &a{at} v")),
            "---\na: &a 1\n".repeat(n)
        )
    }),
    ("merge keys", Format::Yaml, |n| {
        format!(
            "base: &a {{x: y}}\n{}",
            lines(n, |at| format!("k{at}: {{<<: *a, z: 1}}"))
        )
    }),
    ("a merge key over many", Format::Yaml, |n| {
        format!(
            "<<:\n{}{}",
            lines(n, |at| format!("- {{a{at}: 1}}")),
            lines(n, |at| format!("k{at}: v"))
        )
    }),
    ("nesting", Format::Yaml, |n| {
        lines(n / 50, |at| format!("k{at}: {}{}", "[".repeat(90), "]".repeat(90)))
    }),
    ("a plain text of many lines", Format::Yaml, |n| {
        format!("a: x\n{}", "  more text\n".repeat(n))
    }),
    ("a quoted text", Format::Yaml, |n| {
        format!("a: \"{}\"\n", "text \\n ".repeat(n))
    }),
    ("a quoted text of many lines", Format::Yaml, |n| {
        format!("a: 'x\n{}  '\n", "  more\n\n".repeat(n))
    }),
    ("a block of text", Format::Yaml, |n| {
        format!("a: |\n{}", "  more text\n".repeat(n))
    }),
    ("a folded block", Format::Yaml, |n| {
        format!("a: >\n{}", "  more\n    text\n\n".repeat(n))
    }),
    ("line separators in blocks", Format::Yaml, |n| {
        lines(n, |at| format!("k{at}: |\n  x\u{2028}  y"))
    }),
    ("line separators", Format::Yaml, |n| {
        format!("a: '{}'\n", "x \u{2028} ".repeat(n))
    }),
    ("binary", Format::Yaml, |n| {
        format!("a: !!binary |\n{}", "  aGVsbG8haGVsbG8h\n".repeat(n))
    }),
    ("tags", Format::Yaml, |n| lines(n, |at| format!("k{at}: !!str 1"))),
    ("spaces", Format::Yaml, |n| format!("a:{}1\n", " ".repeat(10 * n))),
    ("empty lines", Format::Yaml, |n| {
        format!("a: 1\n{}", "\n".repeat(10 * n))
    }),
    ("keys", Format::Json, |n| json(n, |at| format!("\"k{at}\": 1"))),
    ("escapes", Format::Json, |n| {
        format!("{{\"a\": \"{}\"}}", "\\u00e9\\n".repeat(n))
    }),
    ("items", Format::Json, |n| format!("{{\"a\": [{}1]}}", "1, ".repeat(n))),
    ("nesting", Format::Json, |n| {
        json(n / 50, |at| format!("\"k{at}\": {}{}", "[".repeat(90), "]".repeat(90)))
    }),
    ("numbers", Format::Json, |n| {
        format!("{{\"a\": [{}1]}}", "1.25e3, ".repeat(n))
    }),
    ("lines", Format::Dotenv, |n| lines(n, |at| format!("K{at}=v"))),
    ("Windows lines", Format::Dotenv, |n| lines(n, |at| format!("K{at}=v\r"))),
    ("comments", Format::Dotenv, |n| format!("A=1\n{}", "# note\n".repeat(n))),
    ("line breaks", Format::Dotenv, |n| format!("A={}\n", "x\\n".repeat(n))),
    ("sections", Format::Ini, |n| lines(n, |at| format!("[s{at}]\na = 1"))),
    ("a section again", Format::Ini, |n| {
        lines(n, |at| format!("[s]\nk{at} = 1"))
    }),
    ("a section with the same names again", Format::Ini, |n| {
        "[s]\na = 1\n".repeat(n)
    }),
    ("names", Format::Ini, |n| {
        format!("[s]\n{}", lines(n, |at| format!("k{at} = v")))
    }),
    ("one name again", Format::Ini, |n| {
        format!("[s]\n{}", "k = v\n".repeat(n))
    }),
    ("comments", Format::Ini, |n| format!("[s]\n{}", "; note\n".repeat(n))),
    ("a value of many lines", Format::Ini, |n| {
        format!("[s]\na = x \\\n{}", "y \\\n".repeat(n))
    }),
    ("a quoted value of many lines", Format::Ini, |n| {
        format!("[s]\na = `x\n{}`\n", "y\n".repeat(n))
    }),
    ("text", Format::Binary, |n| "some text\n".repeat(n)),
];

fn lines(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).map(|at| line(at) + "\n").collect()
}

fn json(n: usize, entry: impl Fn(usize) -> String) -> String {
    format!("{{{}}}", (0..n).map(entry).collect::<Vec<_>>().join(", "))
}

/// Allocations and allocated bytes.
fn work(format: Format, text: &str) -> [u64; 2] {
    let mut ok = false;
    let info = measure(|| ok = read(format, text.as_bytes(), &Identities::default()).is_ok());
    assert!(ok, "{format}: {}", &text[..text.len().min(80)]);
    [info.count_total, info.bytes_total]
}

#[test]
fn allocations_grow_with_the_size() {
    for (name, format, shape) in SHAPES {
        let (small, large) = (work(*format, &shape(SMALL)), work(*format, &shape(TIMES * SMALL)));
        for (small, large) in small.into_iter().zip(large) {
            assert!(large <= MOST * small, "{format}, {name}: {small} become {large}");
        }
    }
}

/// Counts the scanner's reads of its input.
struct Counted<'a> {
    input: StrInput<'a>,
    steps: Rc<Cell<u64>>,
}

impl Counted<'_> {
    fn step(&self, count: usize) {
        self.steps.set(self.steps.get() + count as u64);
    }
}

impl Input for Counted<'_> {
    fn lookahead(&mut self, count: usize) {
        self.step(1);
        self.input.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.input.buflen()
    }

    fn bufmaxlen(&self) -> usize {
        self.input.bufmaxlen()
    }

    fn raw_read_ch(&mut self) -> char {
        self.step(1);
        self.input.raw_read_ch()
    }

    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        self.step(1);
        self.input.raw_read_non_breakz_ch()
    }

    fn skip(&mut self) {
        self.step(1);
        self.input.skip();
    }

    fn skip_n(&mut self, count: usize) {
        self.step(count);
        self.input.skip_n(count);
    }

    fn peek(&self) -> char {
        self.step(1);
        self.input.peek()
    }

    fn peek_nth(&self, n: usize) -> char {
        self.step(n + 1);
        self.input.peek_nth(n)
    }

    fn peek_opt(&self) -> Option<char> {
        self.step(1);
        self.input.peek_opt()
    }
}

fn scanner_steps(text: &str) -> u64 {
    let steps = Rc::new(Cell::new(0));
    let mut parser = Parser::new(Counted {
        input: StrInput::new(text),
        steps: steps.clone(),
    });
    while let Some(event) = parser.next_event() {
        event.unwrap();
    }
    steps.get()
}

#[test]
fn the_yaml_scanner_looks_at_each_character_a_few_times() {
    for (name, _, shape) in SHAPES.iter().filter(|(_, format, _)| *format == Format::Yaml) {
        let (small, large) = (scanner_steps(&shape(SMALL)), scanner_steps(&shape(TIMES * SMALL)));
        assert!(large <= MOST * small, "{name}: {small} become {large}");
    }
}

#[test]
fn allocations_for_identities_grow_with_their_number() {
    let keys = |n: usize| "# note\nAGE-PLUGIN-X-1QQ\nnothing\n".repeat(n);
    let work = |n: usize| {
        let text = keys(n);
        let info = measure(|| drop(Identities::parse(text.as_bytes(), None)));
        info.bytes_total
    };
    assert!(work(TIMES * SMALL) <= MOST * work(SMALL));
}

/// The limit of the tests is low enough: quadratic work exceeds it.
#[test]
fn what_grows_with_the_square_is_noticed() {
    let square = |n: usize| {
        let info = measure(|| (0..n).for_each(|at| drop(vec![0_u8; at])));
        info.bytes_total
    };
    assert!(square(TIMES * SMALL) > MOST * square(SMALL));
}
