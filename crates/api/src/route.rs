//! The route that a request took: the pattern of its path, which labels metrics and log lines. The path itself may hold
//! titles.

use std::borrow::Cow;

/// A vault's items. With [`ITEM`] one of the two routes that nearly all requests take.
pub(crate) const ITEMS: &str = "/v1/vaults/{vault}/items";

/// One item.
pub(crate) const ITEM: &str = "/v1/vaults/{vault}/items/{item}";

/// The pattern, such as [`ITEM`].
pub(crate) type Route = Cow<'static, str>;

/// The route of a request that was refused before it was routed, or whose path has no handler.
pub(crate) const NO_ROUTE: Route = Cow::Borrowed("unknown");
