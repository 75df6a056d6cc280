//! Parameters of a request's query.

/// The values of one parameter, percent-decoded; `+` is read as a space, as in forms.
pub(super) fn query<'a>(uri: &'a http::Uri, name: &'a str) -> impl Iterator<Item = String> + 'a {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(move |(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
