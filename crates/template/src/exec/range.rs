//! `range` over integers, lists and maps.

use super::{Flow, Run, State};
use crate::ast::Branch;
use crate::go::val::{Basic, Val};

impl<'t> State<'t> {
    pub(super) fn range(&mut self, dot: &Val, branch: &'t Branch) -> Run<Flow> {
        let before = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let ran = match &value {
            value if matches!(value.basic(), Basic::Int | Basic::Uint) => {
                if branch.pipe.declared.len() > 1 {
                    return self.error("can't use an integer to iterate over more than one variable");
                }
                let end = value.as_int().unwrap_or_default();
                self.iterate(branch, (0..end).map(|i| (Val::Nil, like(value, i))))?
            }
            Val::List(list) => {
                let items = list.items.iter().enumerate();
                self.iterate(branch, items.map(|(i, item)| (Val::Int(i as i64), item.clone())))?
            }
            Val::Map(map) => {
                self.charge(map.items.borrow().len())?;
                // As in Go the keys are sorted once, before the loop: its body may change the map.
                let items: Vec<(Val, Val)> = map
                    .items
                    .borrow()
                    .iter()
                    .map(|(key, item)| (Val::Str(key.clone()), item.clone()))
                    .collect();
                self.iterate(branch, items.into_iter())?
            }
            Val::Nil => false,
            other => {
                return self.error(format!(
                    "range can't iterate over a value of type {}",
                    other.type_name()
                ));
            }
        };
        let mut flow = Flow::Next;
        if !ran && let Some(otherwise) = &branch.otherwise {
            flow = self.list(dot, otherwise)?;
        }
        self.variables.truncate(before);
        // As in Go, a `break` in the `else` of a range ends this range and not the loop around it.
        Ok(if flow == Flow::Break { Flow::Next } else { flow })
    }

    /// Runs the body for each item. Returns whether there was any.
    fn iterate(&mut self, branch: &'t Branch, items: impl Iterator<Item = (Val, Val)>) -> Run<bool> {
        let mark = self.variables.len();
        let declared = &branch.pipe.declared;
        let mut ran = false;
        for (index, item) in items {
            self.work()?;
            ran = true;
            match (declared.as_slice(), branch.pipe.is_assign) {
                ([], _) => {}
                ([one], true) => self.set_variable(one, item.clone())?,
                ([first, second, ..], true) => {
                    self.set_variable(first, index)?;
                    self.set_variable(second, item.clone())?;
                }
                ([_], false) => self.set_top(1, item.clone()),
                (_, false) => {
                    self.set_top(1, item.clone());
                    self.set_top(2, index);
                }
            }
            let flow = self.list(&item, &branch.list)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(ran)
    }

    /// Sets a variable that the `range` declared; 1 is the last of them.
    fn set_top(&mut self, from_top: usize, value: Val) {
        let at = self.variables.len().checked_sub(from_top);
        if let Some(slot) = at.and_then(|at| self.variables.get_mut(at)) {
            slot.1 = value;
        }
    }
}

/// Converts `i` to the integer type of `like`.
fn like(like: &Val, i: i128) -> Val {
    match like {
        Val::Int64(_) => Val::Int64(i as i64),
        Val::Uint64(_) => Val::Uint64(i as u64),
        Val::Byte(_) => Val::Byte(i as u8),
        Val::Duration(_) => Val::Duration(i as i64),
        Val::Month(_) => Val::Month(i as i64),
        Val::Weekday(_) => Val::Weekday(i as i64),
        _ => Val::Int(i as i64),
    }
}
