//! Parses `if`, `with`, `range`, `break` and `continue`.

use super::{Ending, Parsed, Parser};
use crate::ast::{Branch, Node, Pipe};
use crate::lex::Kind;
use crate::limits::MAX_CHAINED;

impl Parser<'_> {
    pub(super) fn loop_exit(&mut self, text: &str, node: Node) -> Parsed<Node> {
        let token = self.next_non_space();
        if token.kind != Kind::RightDelim {
            return self.unexpected(&token, text);
        }
        if self.range_depth == 0 {
            return self.error(format!("{text} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    pub(super) fn control(&mut self, context: &str) -> Parsed<Branch> {
        self.nested(|parser| parser.control_inner(context))
    }

    /// Parses a control structure with its `else if` or `else with`, which are siblings in the text and nested in the
    /// tree.
    fn control_inner(&mut self, context: &str) -> Parsed<Branch> {
        let known = self.variables.len();
        let mut chain = Vec::new();
        let mut last = loop {
            let (pipe, list, ending) = self.head(context)?;
            if ending == Ending::Else && matches!((context, self.peek()), ("if", Kind::If) | ("with", Kind::With)) {
                self.next();
                chain.push((pipe, list));
                self.chained += 1;
                if self.chained > MAX_CHAINED {
                    return self.limit(&format!("more than {MAX_CHAINED} times \"else {context}\""));
                }
                continue;
            }
            let otherwise = match ending {
                Ending::End => None,
                Ending::Else => {
                    let (nodes, ending) = self.list()?;
                    if ending != Ending::End {
                        return self.error(format!("expected end; found {}", ending.text()));
                    }
                    Some(nodes)
                }
            };
            break Branch { pipe, list, otherwise };
        };
        self.chained -= chain.len();
        for (pipe, list) in chain.into_iter().rev() {
            let node = if context == "if" {
                Node::If(last)
            } else {
                Node::With(last)
            };
            last = Branch {
                pipe,
                list,
                otherwise: Some(vec![node]),
            };
        }
        self.variables.truncate(known);
        Ok(last)
    }

    /// Parses the condition of a control structure, and its body up to `end` or `else`.
    fn head(&mut self, context: &str) -> Parsed<(Pipe, Vec<Node>, Ending)> {
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let loops = usize::from(context == "range");
        self.range_depth += loops;
        let (list, ending) = self.list()?;
        self.range_depth -= loops;
        Ok((pipe, list, ending))
    }
}
