//! Builds the tree, with Go's error messages.

mod number;

use std::collections::BTreeMap;

use crate::TemplateError;
use crate::ast::{Branch, Call, Command, Expr, ExprKind, Node, Pipe, Tree};
use crate::go::strconv::{quote_text, unquote};
use crate::lex::{Kind, Token, lex};
use crate::limits::{MAX_CHAINED, MAX_NESTING, MAX_SOURCE};

/// Parses `source` into its trees by name; that of the template itself is called `name`.
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

/// What ends a list of nodes.
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
    /// The last token that was looked at: errors name its line.
    furthest: usize,
    variables: Vec<String>,
    range_depth: usize,
    nesting: usize,
    /// `else if`s and `else with`s around the place.
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
    fn peek_at(&mut self, index: usize) -> &Token {
        let index = index.min(self.tokens.len() - 1);
        self.furthest = self.furthest.max(index);
        &self.tokens[index]
    }

    fn peek(&mut self) -> Kind {
        self.peek_at(self.at).kind
    }

    fn next(&mut self) -> Token {
        let token = self.peek_at(self.at).clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn next_non_space(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn peek_non_space(&mut self) -> Kind {
        self.skip_space();
        self.peek()
    }

    fn skip_space(&mut self) {
        while self.peek() == Kind::Space {
            self.at += 1;
        }
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Parsed<T> {
        let line = self.tokens.get(self.furthest).map_or(1, |token| token.line);
        Err(TemplateError::Parse(format!(
            "template: {}:{line}: {message}",
            self.name
        )))
    }

    fn limit<T>(&self, message: &str) -> Parsed<T> {
        let line = self.tokens.get(self.furthest).map_or(1, |token| token.line);
        Err(TemplateError::Limit(format!(
            "template: {}:{line}: {message}",
            self.name
        )))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind == Kind::Error {
            let mut extra = String::new();
            if self.action_line != 0 && self.action_line != token.line {
                let within = if token.text.ends_with(" action") {
                    ""
                } else {
                    " in action"
                };
                extra = format!("{within} started at {}:{}", self.name, self.action_line);
            }
            return self.error(format!("{}{extra}", token.text));
        }
        self.error(format!("unexpected {} in {context}", show(token)))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(token)
        } else {
            self.unexpected(&token, context)
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return self.limit(&format!(
                "more than {MAX_NESTING} blocks and parentheses inside one another"
            ));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

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

    /// A list that knows none of the variables around it.
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
                // `else if` and `else with` leave their word for the control that they continue.
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

    fn loop_exit(&mut self, text: &str, node: Node) -> Parsed<Node> {
        let token = self.next_non_space();
        if token.kind != Kind::RightDelim {
            return self.unexpected(&token, text);
        }
        if self.range_depth == 0 {
            return self.error(format!("{text} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn control(&mut self, context: &str) -> Parsed<Branch> {
        self.nested(|parser| parser.control_inner(context))
    }

    /// A control with its `else if`s or `else with`s, which are siblings in the text and stand inside one another in the
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

    /// The condition of a control, and what follows it up to its end or `else`.
    fn head(&mut self, context: &str) -> Parsed<(Pipe, Vec<Node>, Ending)> {
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let loops = usize::from(context == "range");
        self.range_depth += loops;
        let (list, ending) = self.list()?;
        self.range_depth -= loops;
        Ok((pipe, list, ending))
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

    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        self.skip_space();
        let pos = self.peek_at(self.at).pos;
        let mut pipe = Pipe {
            pos,
            declared: Vec::new(),
            is_assign: false,
            commands: Vec::new(),
        };
        while self.peek_non_space() == Kind::Variable {
            let start = self.at;
            let variable = self.next();
            self.skip_space();
            let next = self.peek_at(self.at).clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.is_assign = next.kind == Kind::Assign;
                    self.next();
                    self.variables.push(variable.text.clone());
                    pipe.declared.push(variable.text);
                    break;
                }
                Kind::Char if next.text == "," => {
                    self.next();
                    self.variables.push(variable.text.clone());
                    pipe.declared.push(variable.text);
                    if context == "range" && pipe.declared.len() < 2 {
                        match self.peek_non_space() {
                            Kind::Variable | Kind::RightDelim | Kind::RightParen => continue,
                            _ => return self.error("range can only initialize variables"),
                        }
                    }
                    return self.error(format!("too many declarations in {context}"));
                }
                _ => {
                    self.at = start;
                    break;
                }
            }
        }
        loop {
            let start = self.at;
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => {
                    self.check_pipeline(&pipe, context)?;
                    return Ok(pipe);
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.at = start;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            if matches!(
                command.first.kind,
                ExprKind::Bool(_) | ExprKind::Dot | ExprKind::Nil | ExprKind::Number(_) | ExprKind::String { .. }
            ) {
                return self.error(format!("non executable command in pipeline stage {}", i + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let start = self.at;
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.at = start,
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if operands.is_empty() {
            return self.error("empty command");
        }
        let first = operands.remove(0);
        Ok(Command { first, rest: operands })
    }

    fn operand(&mut self) -> Parsed<Option<Expr>> {
        let Some(mut term) = self.term()? else {
            return Ok(None);
        };
        if self.peek() != Kind::Field {
            return Ok(Some(term));
        }
        let pos = self.peek_at(self.at).pos;
        let mut names = Vec::new();
        while self.peek() == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        match &mut term.kind {
            ExprKind::Field(fields) | ExprKind::Variable(fields) => {
                fields.append(&mut names);
                term.pos = pos;
            }
            ExprKind::Bool(_) | ExprKind::String { .. } | ExprKind::Number(_) | ExprKind::Nil | ExprKind::Dot => {
                return self.error(format!("unexpected . after term {}", quote_text(&term.to_string())));
            }
            _ => {
                term = Expr {
                    pos,
                    kind: ExprKind::Chain(Box::new(term), names),
                };
            }
        }
        Ok(Some(term))
    }

    fn term(&mut self) -> Parsed<Option<Expr>> {
        self.skip_space();
        let start = self.at;
        let token = self.next();
        let pos = token.pos;
        let kind = match token.kind {
            Kind::Identifier => {
                if !crate::funcs::is_function(&token.text) {
                    return self.error(format!("function {} not defined", quote_text(&token.text)));
                }
                ExprKind::Identifier(token.text)
            }
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable => {
                if !self.variables.contains(&token.text) {
                    return self.error(format!("undefined variable {}", quote_text(&token.text)));
                }
                ExprKind::Variable(vec![token.text])
            }
            Kind::Field => ExprKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => ExprKind::Bool(token.text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => match number::parse(&token.text, token.kind) {
                Ok(number) => ExprKind::Number(number),
                Err(message) => return self.error(message),
            },
            Kind::LeftParen => {
                ExprKind::Pipe(self.nested(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParen))?)
            }
            Kind::String | Kind::RawString => match unquote(&token.text) {
                Some(text) => ExprKind::String {
                    quoted: token.text,
                    text,
                },
                None => return self.error("invalid syntax"),
            },
            _ => {
                self.at = start;
                return Ok(None);
            }
        };
        // A parenthesised pipeline is where its content is, as in Go.
        let pos = match &kind {
            ExprKind::Pipe(pipe) => pipe.pos,
            _ => pos,
        };
        Ok(Some(Expr { pos, kind }))
    }
}

/// As Go shows a token in an error.
fn show(token: &Token) -> String {
    match token.kind {
        Kind::Eof => "EOF".to_owned(),
        Kind::Error => token.text.clone(),
        kind if kind.is_keyword() => format!("<{}>", token.text),
        _ if token.text.len() > 10 => {
            let short: String = token.text.chars().take(10).collect();
            format!("{}...", quote_text(&short))
        }
        _ => quote_text(&token.text),
    }
}
