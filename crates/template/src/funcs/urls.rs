//! sprig's functions for URLs.

use super::{Context, Fault, Func, Ran, Ty, f, map, text};
use crate::go::url::{self, Url};
use crate::go::val::{Items, Val};

pub(super) const TABLE: &[Func] = &[f("urlParse", &[Ty::Str], parse), f("urlJoin", &[Ty::Map], join)];

fn parse(ctx: &mut Context, args: &[Val]) -> Ran {
    let Some(url) = url::parse(text(args, 0)) else {
        return Err("unable to parse url".into());
    };
    let hostname = url.hostname();
    let userinfo = url.user.as_ref().map(|user| user.text()).unwrap_or_default();
    let mut items = Items::new();
    for (name, part) in [
        ("scheme", url.scheme),
        ("host", url.host),
        ("hostname", hostname),
        ("path", url.path),
        ("query", url.query),
        ("opaque", url.opaque),
        ("fragment", url.fragment),
        ("userinfo", userinfo),
    ] {
        items.insert(name.as_bytes().into(), Val::str(part));
    }
    Ok(ctx.map(items))
}

fn join(ctx: &mut Context, args: &[Val]) -> Ran {
    let part = |name: &str| -> Result<Vec<u8>, Fault> {
        match map(args, 0).and_then(|map| map.items.borrow().get(name.as_bytes()).cloned()) {
            None => Ok(Vec::new()),
            Some(Val::Str(text)) => Ok(text.to_vec()),
            Some(other) => Err(format!(
                "unable to parse {name} key, must be of type string, but {} found",
                other.kind_name()
            )
            .into()),
        }
    };
    let userinfo = part("userinfo")?;
    let user = if userinfo.is_empty() {
        None
    } else {
        let text = [b"proto://", userinfo.as_slice(), b"@host"].concat();
        url::parse(&text).ok_or("unable to parse userinfo in dict")?.user
    };
    let url = Url {
        scheme: part("scheme")?,
        host: part("host")?,
        path: part("path")?,
        query: part("query")?,
        opaque: part("opaque")?,
        fragment: part("fragment")?,
        user,
        ..Url::default()
    };
    ctx.text(url.text())
}
