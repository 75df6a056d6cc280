//! Go's `net/url`, as far as `urlParse`, `urlJoin` and `urlquery` need it.

#[derive(Default)]
pub(crate) struct Url {
    pub(crate) scheme: Vec<u8>,
    pub(crate) opaque: Vec<u8>,
    pub(crate) user: Option<User>,
    pub(crate) host: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) raw_path: Vec<u8>,
    pub(crate) query: Vec<u8>,
    pub(crate) force_query: bool,
    pub(crate) fragment: Vec<u8>,
    pub(crate) raw_fragment: Vec<u8>,
}

pub(crate) struct User {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Path,
    Host,
    User,
    Query,
    Fragment,
}

fn unreserved(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() {
        return true;
    }
    match byte {
        b'-' | b'_' | b'.' | b'~' => true,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'[' | b']' | b'<'
        | b'>' | b'"'
            if part == Part::Host =>
        {
            true
        }
        b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match part {
            Part::Path => byte != b'?',
            Part::User => !matches!(byte, b'@' | b'/' | b'?' | b':'),
            Part::Fragment => true,
            _ => false,
        },
        b'!' | b'(' | b')' | b'*' => part == Part::Fragment,
        _ => false,
    }
}

fn escape(text: &[u8], part: Part) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if byte == b' ' && part == Part::Query {
            out.push(b'+');
        } else if unreserved(byte, part) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// `url.QueryEscape`.
pub(crate) fn query_escape(text: &[u8]) -> Vec<u8> {
    escape(text, Part::Query)
}

fn unescape(text: &[u8], part: Part) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'%' => {
                let digits = std::str::from_utf8(text.get(at + 1..at + 3)?).ok()?;
                if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                let byte = u8::from_str_radix(digits, 16).ok()?;
                // In a host only bytes outside of ASCII may be escaped.
                if part == Part::Host && byte < 0x80 && digits != "25" {
                    return None;
                }
                out.push(byte);
                at += 3;
                continue;
            }
            byte if part == Part::Host && byte < 0x80 && !unreserved(byte, part) => return None,
            byte => out.push(byte),
        }
        at += 1;
    }
    Some(out)
}

/// `url.Parse`; `None` if Go returns an error.
pub(crate) fn parse(text: &[u8]) -> Option<Url> {
    if text.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
        return None;
    }
    let mut url = Url::default();
    let mut rest = text;
    if let Some(at) = text.iter().position(|byte| *byte == b'#') {
        rest = &text[..at];
        url.fragment = unescape(&text[at + 1..], Part::Fragment)?;
        if escape(&url.fragment, Part::Fragment) != text[at + 1..] {
            url.raw_fragment = text[at + 1..].to_vec();
        }
    }
    if rest == b"*" {
        url.path = b"*".to_vec();
        return Some(url);
    }
    let (scheme, after) = split_scheme(rest)?;
    url.scheme = scheme.to_ascii_lowercase();
    rest = after;
    if rest.ends_with(b"?") && rest.iter().filter(|byte| **byte == b'?').count() == 1 {
        url.force_query = true;
        rest = &rest[..rest.len() - 1];
    } else if let Some(at) = rest.iter().position(|byte| *byte == b'?') {
        url.query = rest[at + 1..].to_vec();
        rest = &rest[..at];
    }
    if !rest.starts_with(b"/") {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_vec();
            return Some(url);
        }
        let segment = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        if segment.contains(&b':') {
            return None;
        }
    }
    if rest.starts_with(b"//") && (!url.scheme.is_empty() || !rest.starts_with(b"///")) {
        let after = &rest[2..];
        let end = after.iter().position(|byte| *byte == b'/').unwrap_or(after.len());
        (url.user, url.host) = authority(&after[..end])?;
        rest = &after[end..];
    }
    url.path = unescape(rest, Part::Path)?;
    if escape(&url.path, Part::Path) != rest {
        url.raw_path = rest.to_vec();
    }
    Some(url)
}

fn split_scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    for (i, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return None,
            b':' => return Some((&text[..i], &text[i + 1..])),
            _ => return Some((b"", text)),
        }
    }
    Some((b"", text))
}

fn authority(text: &[u8]) -> Option<(Option<User>, Vec<u8>)> {
    let Some(at) = text.iter().rposition(|byte| *byte == b'@') else {
        return Some((None, host(text)?));
    };
    let (info, name) = (&text[..at], &text[at + 1..]);
    let valid = info
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte));
    if !valid {
        return None;
    }
    let user = match info.iter().position(|byte| *byte == b':') {
        None => User {
            name: unescape(info, Part::User)?,
            password: None,
        },
        Some(colon) => User {
            name: unescape(&info[..colon], Part::User)?,
            password: Some(unescape(&info[colon + 1..], Part::User)?),
        },
    };
    Some((Some(user), host(name)?))
}

fn host(text: &[u8]) -> Option<Vec<u8>> {
    let port = if text.starts_with(b"[") {
        let end = text.iter().rposition(|byte| *byte == b']')?;
        &text[end + 1..]
    } else {
        match text.iter().rposition(|byte| *byte == b':') {
            Some(at) => &text[at..],
            None => b"",
        }
    };
    let valid = match port.split_first() {
        None => true,
        Some((b':', digits)) => digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    if valid { unescape(text, Part::Host) } else { None }
}

impl User {
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut out = escape(&self.name, Part::User);
        if let Some(password) = &self.password {
            out.push(b':');
            out.extend_from_slice(&escape(password, Part::User));
        }
        out
    }
}

impl Url {
    /// `URL.Hostname`
    pub(crate) fn hostname(&self) -> Vec<u8> {
        let host = &self.host;
        let end = match host.iter().rposition(|byte| *byte == b':') {
            Some(at) if host[at + 1..].iter().all(u8::is_ascii_digit) => at,
            _ => host.len(),
        };
        let name = &host[..end];
        match name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")) {
            Some(inner) => inner.to_vec(),
            None => name.to_vec(),
        }
    }

    fn escaped_path(&self) -> Vec<u8> {
        if !self.raw_path.is_empty() {
            return self.raw_path.clone();
        }
        if self.path == b"*" {
            b"*".to_vec()
        } else {
            escape(&self.path, Part::Path)
        }
    }

    /// `URL.String`
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(&self.scheme);
            out.push(b':');
        }
        if self.opaque.is_empty() {
            if !self.scheme.is_empty() || !self.host.is_empty() || self.user.is_some() {
                if !self.host.is_empty() || !self.path.is_empty() || self.user.is_some() {
                    out.extend_from_slice(b"//");
                }
                if let Some(user) = &self.user {
                    out.extend_from_slice(&user.text());
                    out.push(b'@');
                }
                out.extend_from_slice(&escape(&self.host, Part::Host));
            }
            let path = self.escaped_path();
            if !path.is_empty() && path[0] != b'/' && !self.host.is_empty() {
                out.push(b'/');
            }
            if out.is_empty() {
                let segment = path.split(|byte| *byte == b'/').next().unwrap_or_default();
                if segment.contains(&b':') {
                    out.extend_from_slice(b"./");
                }
            }
            out.extend_from_slice(&path);
        } else {
            out.extend_from_slice(&self.opaque);
        }
        if self.force_query || !self.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            if self.raw_fragment.is_empty() {
                out.extend_from_slice(&escape(&self.fragment, Part::Fragment));
            } else {
                out.extend_from_slice(&self.raw_fragment);
            }
        }
        out
    }
}
