//! Looks up host names without the C library.

use std::net::{IpAddr, Ipv4Addr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;

use crate::LookupError;

pub(crate) async fn resolve(host: &str) -> Result<Vec<IpAddr>, LookupError> {
    Name::from_utf8(host).map_err(|_| LookupError::NotFound(host.to_owned()))?;
    let found = async { resolver()?.lookup_ip(host).await };
    let found = found.await.map_err(|error| lookup_error(host, &error))?;
    Ok(found.iter().collect())
}

fn resolver() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        let here = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![here]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    });
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    builder.build()
}

fn lookup_error(host: &str, error: &NetError) -> LookupError {
    let has_no_address = match error {
        NetError::Dns(DnsError::NoRecordsFound(no_records)) => {
            // NoError: the name exists and has records of other types only.
            matches!(no_records.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
        }
        _ => false,
    };
    if has_no_address {
        LookupError::NotFound(host.to_owned())
    } else {
        LookupError::NoAnswer(host.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::Query;

    use super::*;

    #[test]
    fn errors_say_in_words_what_happened() {
        let no_records = |code| NetError::from(NoRecords::new(Query::new(), code));
        let not_found = "the host name \"h.invalid\" was not found: neither DNS nor /etc/hosts has an address for it";
        let no_answer =
            "the host name \"h.invalid\" could not be looked up: no DNS server of /etc/resolv.conf gave an answer";
        for (error, words) in [
            (no_records(ResponseCode::NXDomain), not_found),
            (no_records(ResponseCode::NoError), not_found),
            (no_records(ResponseCode::ServFail), no_answer),
            (NetError::Timeout, no_answer),
            (NetError::NoConnections, no_answer),
        ] {
            assert_eq!(lookup_error("h.invalid", &error).to_string(), words, "{error}");
        }
    }
}
