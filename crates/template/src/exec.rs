//! Executes templates as Go's `text/template/exec.go` does, within the limits of [`crate::limits`].

mod call;
mod eval;
mod range;

use std::time::SystemTime;

use crate::TemplateError;
use crate::ast::{Branch, Call, Command, Expr, Node, Pipe, Tree};
use crate::funcs::{Context, Fault};
use crate::go::fmt;
use crate::go::strconv::quote_text;
use crate::go::val::Val;
use crate::limits::{Budget, MAX_ACTION_DEPTH, MAX_OUTPUT, MAX_TEMPLATE_DEPTH, MAX_VALUE_DEPTH};
use crate::template::Inner;
use crate::value::Values;

/// Renders a template with `data` as `.`.
pub(crate) fn render(
    template: &Inner,
    data: &Values,
    now: SystemTime,
    budget: &mut Budget,
) -> Result<Vec<u8>, TemplateError> {
    let mut ctx = Context::new(now, budget.clone());
    let rendered = run(template, data, &mut ctx);
    *budget = ctx.budget.clone();
    rendered
}

fn run(template: &Inner, data: &Values, ctx: &mut Context) -> Result<Vec<u8>, TemplateError> {
    let Some(dot) = Val::from_values(data, MAX_VALUE_DEPTH, &mut |items| ctx.map(items)) else {
        return Err(TemplateError::Limit(format!(
            "template: {}: the data is nested too deeply",
            template.name
        )));
    };
    let mut state = State {
        template,
        ctx,
        out: Vec::new(),
        variables: vec![("$", dot.clone())],
        tree_name: &template.name,
        at: At::Start,
        template_depth: 0,
        action_depth: 0,
    };
    let Some(tree) = template.trees.get(&template.name) else {
        return state.error("incomplete or empty template");
    };
    state.list(&dot, &tree.nodes)?;
    Ok(state.out)
}

/// The part of the template that is being executed, for error messages.
#[derive(Clone, Copy)]
enum At<'t> {
    Start,
    Expr(&'t Expr),
    Command(&'t Command),
    Pipe(&'t Pipe),
    Call(&'t Call),
}

/// How the execution of a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct State<'t> {
    template: &'t Inner,
    ctx: &'t mut Context,
    out: Vec<u8>,
    variables: Vec<(&'t str, Val)>,
    tree_name: &'t str,
    at: At<'t>,
    template_depth: usize,
    action_depth: usize,
}

type Run<T> = Result<T, TemplateError>;

impl<'t> State<'t> {
    fn describe(&self, message: &str) -> String {
        let (pos, context) = match self.at {
            At::Start => return format!("template: {}: {message}", self.tree_name),
            At::Expr(expr) => (expr.pos, expr.to_string()),
            At::Command(command) => (command.first.pos, command.to_string()),
            At::Pipe(pipe) => (pipe.pos, pipe.to_string()),
            At::Call(call) => (call.pos, call.to_string()),
        };
        let before = self.template.source.get(..pos).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        let column = before.rfind('\n').map_or(pos, |at| pos - at - 1);
        format!(
            "template: {}:{line}:{column}: executing {} at <{context}>: {message}",
            self.template.name,
            quote_text(self.tree_name)
        )
    }

    fn error<T>(&self, message: impl AsRef<str>) -> Run<T> {
        Err(TemplateError::Execute(self.describe(message.as_ref())))
    }

    fn limit<T>(&self, message: &str) -> Run<T> {
        Err(TemplateError::Limit(self.describe(message)))
    }

    /// The error of a function, with the position of its call.
    fn fault(&self, name: &str, fault: &Fault) -> TemplateError {
        match fault {
            Fault::Error(message) => TemplateError::Execute(self.describe(&format!("error calling {name}: {message}"))),
            Fault::Uncallable(message) => TemplateError::Execute(self.describe(message)),
            Fault::Limit(message) => TemplateError::Limit(self.describe(message)),
        }
    }

    fn work(&mut self) -> Run<()> {
        self.charge(1)
    }

    fn charge(&mut self, units: usize) -> Run<()> {
        match self.ctx.work(units as u64) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.fault("", &fault)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Run<()> {
        if self.out.len() + bytes.len() > MAX_OUTPUT {
            return self.limit(&format!("the output has more than {MAX_OUTPUT} bytes"));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn list(&mut self, dot: &Val, nodes: &'t [Node]) -> Run<Flow> {
        if self.action_depth >= MAX_ACTION_DEPTH {
            return self.limit("the template is nested too deeply");
        }
        self.action_depth += 1;
        for node in nodes {
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                self.action_depth -= 1;
                return Ok(flow);
            }
        }
        self.action_depth -= 1;
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Val, node: &'t Node) -> Run<Flow> {
        self.work()?;
        match node {
            Node::Text(text) => self.write(text.as_bytes())?,
            Node::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.declared.is_empty() {
                    self.at = At::Pipe(pipe);
                    self.print(&value)?;
                }
            }
            Node::If(branch) => return self.if_or_with(dot, branch, false),
            Node::With(branch) => return self.if_or_with(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template(call) => self.call_template(dot, call)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, value: &Val) -> Run<()> {
        let text = match value {
            Val::Nil => b"<no value>".to_vec(),
            Val::Str(text) => return self.write(&text.clone()),
            value => match fmt::value(self.ctx, value) {
                Ok(text) => text,
                Err(fault) => return Err(self.fault("print", &fault)),
            },
        };
        self.write(&text)
    }

    fn if_or_with(&mut self, dot: &Val, branch: &'t Branch, with: bool) -> Run<Flow> {
        let mark = self.variables.len();
        let (mut branch, mut with) = (branch, with);
        let flow = loop {
            let value = self.pipeline(dot, &branch.pipe)?;
            if value.truth() {
                break self.list(if with { &value } else { dot }, &branch.list)?;
            }
            // A loop and no recursion: a long chain of `else if` must not reach the limit of nesting.
            (branch, with) = match branch.otherwise.as_deref() {
                Some([Node::If(next)]) => (next, false),
                Some([Node::With(next)]) => (next, true),
                Some(otherwise) => break self.list(dot, otherwise)?,
                None => break Flow::Next,
            };
            self.work()?;
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn set_variable(&mut self, name: &str, value: Val) -> Run<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some(slot) => {
                slot.1 = value;
                Ok(())
            }
            None => self.error(format!("undefined variable: {name}")),
        }
    }

    fn call_template(&mut self, dot: &Val, call: &'t Call) -> Run<()> {
        self.at = At::Call(call);
        let Some(tree): Option<&'t Tree> = self.template.trees.get(&call.name) else {
            return self.error(format!("template {} not defined", quote_text(&call.name)));
        };
        if self.template_depth == MAX_TEMPLATE_DEPTH {
            return self.limit(&format!("exceeded maximum template depth ({MAX_TEMPLATE_DEPTH})"));
        }
        let dot = match &call.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Val::Nil,
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let name = std::mem::replace(&mut self.tree_name, &tree.name);
        self.template_depth += 1;
        self.list(&dot, &tree.nodes)?;
        self.template_depth -= 1;
        self.tree_name = name;
        self.variables = variables;
        Ok(())
    }
}
