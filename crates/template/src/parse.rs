//! Parses tokens to the syntax tree, with Go's error messages.

mod control;
mod cursor;
mod number;
mod pipeline;

use std::collections::BTreeMap;

use crate::TemplateError;
use crate::ast::{Call, Node, Tree};
use crate::go::strconv::{quote_text, unquote};
use crate::lex::{Kind, Token, lex};
use crate::limits::MAX_SOURCE;

/// Parses `source` to trees by name. The tree of the template itself has the name `name`.
pub(crate) fn parse(
    name: &str,
    source: &str,
    left: &str,
    right: &str,
) -> Result<BTreeMap<String, Tree>, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::Limit(format!(
            "template: {name}: the source has more than {MAX_SOURCE} bytes"
        )));
    }
    let mut parser = Parser {
        name,
        tokens: lex(source, left, right),
        at: 0,
        furthest: 0,
        variables: vec!["$".to_owned()],
        range_depth: 0,
        nesting: 0,
        chained: 0,
        action_line: 0,
        trees: BTreeMap::new(),
    };
    let nodes = parser.top()?;
    parser.add(Tree {
        name: name.to_owned(),
        nodes,
    })?;
    Ok(parser.trees)
}

type Parsed<T> = Result<T, TemplateError>;

/// The keyword that ends a list of nodes.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    End,
    Else,
}

impl Ending {
    fn text(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

enum Item {
    Node(Node),
    Ending(Ending),
}

struct Parser<'s> {
    name: &'s str,
    tokens: Vec<Token>,
    at: usize,
    /// The last token that was read. Errors name its line.
    furthest: usize,
    variables: Vec<String>,
    range_depth: usize,
    nesting: usize,
    /// The number of `else if` and `else with` around the current position.
    chained: usize,
    action_line: usize,
    trees: BTreeMap<String, Tree>,
}

fn is_blank(nodes: &[Node]) -> bool {
    nodes
        .iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

impl Parser<'_> {
    fn add(&mut self, tree: Tree) -> Parsed<()> {
        match self.trees.get(&tree.name) {
            Some(old) if !is_blank(&old.nodes) => {
                if !is_blank(&tree.nodes) {
                    return self.error(format!(
                        "template: multiple definition of template {}",
                        quote_text(&tree.name)
                    ));
                }
            }
            _ => {
                self.trees.insert(tree.name.clone(), tree);
            }
        }
        Ok(())
    }

    fn top(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek() != Kind::Eof {
            if self.peek() == Kind::LeftDelim {
                let start = self.at;
                self.next();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.at = start;
            }
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::Ending(ending) => return self.error(format!("unexpected {}", ending.text())),
            }
        }
        Ok(nodes)
    }

    fn definition(&mut self) -> Parsed<()> {
        let context = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        self.expect(Kind::RightDelim, context)?;
        let nodes = self.separate_list(context)?;
        self.add(Tree { name, nodes })
    }

    /// Parses a list of nodes in which the variables around it are not visible.
    fn separate_list(&mut self, context: &str) -> Parsed<Vec<Node>> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let action_line = std::mem::take(&mut self.action_line);
        let (nodes, ending) = self.nested(Self::list)?;
        self.variables = variables;
        self.range_depth = range_depth;
        self.action_line = action_line;
        if ending != Ending::End {
            return self.error(format!("unexpected {} in {context}", ending.text()));
        }
        Ok(nodes)
    }

    fn list(&mut self) -> Parsed<(Vec<Node>, Ending)> {
        let mut nodes = Vec::new();
        while self.peek_non_space() != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::Ending(ending) => return Ok((nodes, ending)),
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text))),
            Kind::LeftDelim => {
                self.action_line = token.line;
                let item = self.action();
                if item.is_ok() {
                    self.action_line = 0;
                }
                item
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let start = self.at;
        let token = self.next_non_space();
        Ok(Item::Node(match token.kind {
            Kind::Block => self.block()?,
            Kind::Break => self.loop_exit("{{break}}", Node::Break)?,
            Kind::Continue => self.loop_exit("{{continue}}", Node::Continue)?,
            Kind::Else => {
                // After `else`, the `if` or `with` is left for the control structure that it continues.
                if !matches!(self.peek_non_space(), Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Item::Ending(Ending::Else));
            }
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Item::Ending(Ending::End));
            }
            Kind::If => Node::If(self.control("if")?),
            Kind::Range => Node::Range(self.control("range")?),
            Kind::Template => self.template()?,
            Kind::With => Node::With(self.control("with")?),
            _ => {
                self.at = start;
                Node::Action(self.pipeline("command", Kind::RightDelim)?)
            }
        }))
    }

    fn block(&mut self) -> Parsed<Node> {
        let context = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let nodes = self.separate_list(context)?;
        self.add(Tree {
            name: name.clone(),
            nodes,
        })?;
        Ok(Node::Template(Call {
            pos: token.pos,
            name,
            pipe: Some(pipe),
        }))
    }

    fn template(&mut self) -> Parsed<Node> {
        let context = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        let start = self.at;
        let pipe = if self.next_non_space().kind == Kind::RightDelim {
            None
        } else {
            self.at = start;
            Some(self.pipeline(context, Kind::RightDelim)?)
        };
        Ok(Node::Template(Call {
            pos: token.pos,
            name,
            pipe,
        }))
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Parsed<String> {
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return self.unexpected(token, context);
        }
        match unquote(&token.text) {
            Some(name) => Ok(String::from_utf8_lossy(&name).into_owned()),
            None => self.error("invalid syntax"),
        }
    }
}
