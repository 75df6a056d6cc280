//! Which route a request's path takes.

/// A path's kind, for metrics and logs: paths themselves may hold titles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    Activity,
    Events,
    Vaults,
    Vault,
    Items,
    Item,
    Versions,
    Restore,
    Files,
    File,
    Content,
    Status,
    Unknown,
}

impl Route {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Unknown as usize + 1;

    pub(crate) fn of(path: &str) -> Self {
        let mut segments = [""; 9];
        let mut count = 0;
        for segment in path.split('/').skip(1) {
            if count == segments.len() {
                return Self::Unknown;
            }
            segments[count] = segment;
            count += 1;
        }
        match segments[..count] {
            ["v1", "activity"] => Self::Activity,
            ["v1", "events"] => Self::Events,
            ["v1", "vaults"] => Self::Vaults,
            ["v1", "vaults", _] => Self::Vault,
            ["v1", "vaults", _, "items"] => Self::Items,
            ["v1", "vaults", _, "items", _] => Self::Item,
            ["v1", "vaults", _, "items", _, "versions"] => Self::Versions,
            ["v1", "vaults", _, "items", _, "versions", _, "restore"] => Self::Restore,
            ["v1", "vaults", _, "items", _, "files"] => Self::Files,
            ["v1", "vaults", _, "items", _, "files", _] => Self::File,
            ["v1", "vaults", _, "items", _, "files", _, "content"] => Self::Content,
            ["heartbeat" | "health" | "metrics"] | ["v1", "heartbeat" | "health"] => Self::Status,
            _ => Self::Unknown,
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Activity => "/v1/activity",
            Self::Events => "/v1/events",
            Self::Vaults => "/v1/vaults",
            Self::Vault => "/v1/vaults/{vault}",
            Self::Items => "/v1/vaults/{vault}/items",
            Self::Item => "/v1/vaults/{vault}/items/{item}",
            Self::Versions => "/v1/vaults/{vault}/items/{item}/versions",
            Self::Restore => "/v1/vaults/{vault}/items/{item}/versions/{version}/restore",
            Self::Files => "/v1/vaults/{vault}/items/{item}/files",
            Self::File => "/v1/vaults/{vault}/items/{item}/files/{file}",
            Self::Content => "/v1/vaults/{vault}/items/{item}/files/{file}/content",
            Self::Status => "status",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn methods(self) -> &'static str {
        match self {
            Self::Items => "GET, HEAD, POST",
            Self::Item => "GET, HEAD, PUT, PATCH, DELETE",
            Self::Restore => "POST",
            _ => "GET, HEAD",
        }
    }
}
