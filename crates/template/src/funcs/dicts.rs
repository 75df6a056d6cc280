//! sprig's functions for dictionaries.

use std::rc::Rc;

use super::{Context, Fault, Func, Ran, Ty, any, f, map, strval, text, v};
use crate::go::val::{Elem, Items, List, Map, Val};
use crate::limits::MAX_VALUE_DEPTH;

pub(super) const TABLE: &[Func] = &[
    v("dict", &[], Ty::Any, dict),
    f("get", &[Ty::Map, Ty::Str], |_, args| {
        Ok(lookup(args, 0, 1).unwrap_or_else(|| Val::str("")))
    }),
    f("set", &[Ty::Map, Ty::Str, Ty::Any], set),
    f("unset", &[Ty::Map, Ty::Str], |_, args| {
        if let Some(map) = map(args, 0) {
            let removed = map.items.borrow_mut().remove(text(args, 1));
            drop(removed);
        }
        Ok(any(args, 0))
    }),
    f("hasKey", &[Ty::Map, Ty::Str], |_, args| {
        Ok(Val::Bool(lookup(args, 0, 1).is_some()))
    }),
    v("pluck", &[Ty::Str], Ty::Map, |ctx, args| {
        ctx.work(args.len() as u64)?;
        Ok(Val::list((1..args.len()).filter_map(|i| lookup(args, i, 0)).collect()))
    }),
    v("keys", &[], Ty::Map, |ctx, args| {
        let mut keys = Vec::new();
        for map in (0..args.len()).filter_map(|i| map(args, i)) {
            let items = map.items.borrow();
            ctx.work(items.len() as u64)?;
            keys.extend(items.keys().cloned());
        }
        Ok(Val::of(Elem::Str, keys.into_iter().map(Val::Str).collect()))
    }),
    v("pick", &[Ty::Map], Ty::Str, |ctx, args| {
        let mut items = Items::new();
        for i in 1..args.len() {
            if let Some(value) = lookup(args, 0, i) {
                items.insert(text(args, i).into(), value);
            }
        }
        Ok(ctx.map(items))
    }),
    v("omit", &[Ty::Map], Ty::Str, |ctx, args| {
        ctx.work(map(args, 0).map_or(0, |map| map.items.borrow().len()) as u64)?;
        let mut items = map(args, 0).map(|map| map.items.borrow().clone()).unwrap_or_default();
        for i in 1..args.len() {
            items.remove(text(args, i));
        }
        Ok(ctx.map(items))
    }),
    f("values", &[Ty::Map], |ctx, args| {
        ctx.work(map(args, 0).map_or(0, |map| map.items.borrow().len()) as u64)?;
        Ok(Val::list(
            map(args, 0)
                .map(|map| map.items.borrow().values().cloned().collect())
                .unwrap_or_default(),
        ))
    }),
    v("merge", &[Ty::Map], Ty::Map, |ctx, args| merged(ctx, args, false)),
    v("mustMerge", &[Ty::Map], Ty::Map, |ctx, args| merged(ctx, args, false)),
    v("mergeOverwrite", &[Ty::Map], Ty::Map, |ctx, args| {
        merged(ctx, args, true)
    }),
    v("mustMergeOverwrite", &[Ty::Map], Ty::Map, |ctx, args| {
        merged(ctx, args, true)
    }),
    f("deepCopy", &[Ty::Any], deep_copy),
    f("mustDeepCopy", &[Ty::Any], deep_copy),
    v("dig", &[], Ty::Any, dig),
];

fn lookup(args: &[Val], dict: usize, key: usize) -> Option<Val> {
    map(args, dict)?.items.borrow().get(text(args, key)).cloned()
}

fn dict(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut items = Items::new();
    for pair in args.chunks(2) {
        let key = strval(ctx, &pair[0])?;
        items.insert(key.into(), pair.get(1).cloned().unwrap_or_else(|| Val::str("")));
    }
    Ok(ctx.map(items))
}

fn set(_: &mut Context, args: &[Val]) -> Ran {
    let Some(map) = map(args, 0).filter(|map| !map.nil) else {
        return Err("assignment to entry in nil map".into());
    };
    let before = map.items.borrow_mut().insert(text(args, 1).into(), any(args, 2));
    drop(before);
    Ok(any(args, 0))
}

fn merged(ctx: &mut Context, args: &[Val], overwrite: bool) -> Ran {
    let into = match map(args, 0) {
        Some(map) if !map.nil => any(args, 0),
        _ => ctx.map(Items::new()),
    };
    if let Val::Map(into) = &into {
        for i in 1..args.len() {
            if let Some(from) = map(args, i) {
                merge(ctx, into, from, overwrite, 0)?;
            }
        }
    }
    Ok(into)
}

/// Merges as `mergo` does: an empty value counts as absent, and nested maps are merged.
fn merge(ctx: &mut Context, into: &Rc<Map>, from: &Rc<Map>, overwrite: bool, depth: usize) -> Result<(), Fault> {
    if depth > MAX_VALUE_DEPTH {
        return Err(Fault::Limit("a value is nested too deeply"));
    }
    if Rc::ptr_eq(into, from) {
        return Ok(());
    }
    let items: Vec<_> = from
        .items
        .borrow()
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (key, value) in items {
        ctx.work(1)?;
        let old = into.items.borrow().get(&key).cloned();
        if matches!(value, Val::Nil) {
            if overwrite {
                into.items.borrow_mut().insert(key, value);
            }
            continue;
        }
        if let (Some(Val::Map(old)), Val::Map(value)) = (&old, &value) {
            merge(ctx, old, value, overwrite, depth + 1)?;
            if !old.items.borrow().is_empty() {
                continue;
            }
        }
        let keep = old.as_ref().is_some_and(|old| old.truth());
        if (!keep || overwrite) && (!into.strings || matches!(value, Val::Str(_))) {
            into.items.borrow_mut().insert(key, value);
        }
    }
    Ok(())
}

fn deep_copy(ctx: &mut Context, args: &[Val]) -> Ran {
    match any(args, 0) {
        Val::Nil => Err("reflect: call of reflect.Value.Type on zero Value".into()),
        value => copy(ctx, &value, 0),
    }
}

fn copy(ctx: &mut Context, value: &Val, depth: usize) -> Ran {
    ctx.work(1)?;
    if depth > MAX_VALUE_DEPTH {
        return Err(Fault::Limit("a value is nested too deeply"));
    }
    Ok(match value {
        Val::List(list) => {
            let items: Result<Vec<Val>, Fault> = list.items.iter().map(|item| copy(ctx, item, depth + 1)).collect();
            Val::List(Rc::new(List::new(list.elem, list.nil, items?)))
        }
        Val::Map(map) if map.strings || map.nil => {
            let items = map.items.borrow();
            ctx.work(items.len() as u64)?;
            Val::Map(Rc::new(Map::new(map.strings, map.nil, items.clone())))
        }
        Val::Map(map) => {
            let mut items = Items::new();
            for (key, item) in map.items.borrow().iter() {
                items.insert(key.clone(), copy(ctx, item, depth + 1)?);
            }
            ctx.map(items)
        }
        other => other.clone(),
    })
}

fn dig(_: &mut Context, args: &[Val]) -> Ran {
    let [path @ .., default, dict] = args else {
        return Err("dig needs at least three arguments".into());
    };
    if path.is_empty() {
        return Err("dig needs at least three arguments".into());
    }
    let mut at = dict.clone();
    for key in path {
        let Val::Str(key) = key else {
            return Err(format!("a key is {}, not string", key.type_name()).into());
        };
        let next = match &at {
            Val::Map(map) if !map.strings => map.items.borrow().get(key).cloned(),
            other => {
                return Err(format!(
                    "interface conversion: {} is not map[string]interface {{}}",
                    other.type_name()
                )
                .into());
            }
        };
        match next {
            Some(next) => at = next,
            None => return Ok(default.clone()),
        }
    }
    Ok(at)
}
