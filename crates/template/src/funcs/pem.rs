//! External Secrets' functions that filter PEM text.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Context, Fault, Func, Ran, Ty, f, strings, text};
use crate::go::pem;
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("filterPEM", &[Ty::Str, Ty::Str], filter_pem),
    f("filterCertChain", &[Ty::Str, Ty::Str], filter_chain),
    f("certSANs", &[Ty::Str], sans),
];

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Fault> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err("failed to parse certificate".into()),
    }
}

pub(super) fn is_certificate(der: &[u8]) -> bool {
    parse(der).is_ok()
}

/// A certificate of a chain, with its key identifiers. Signatures are not verified: certificates are only sorted.
struct Link {
    der: Vec<u8>,
    subject_key: Vec<u8>,
    authority_key: Option<Vec<u8>>,
}

impl Link {
    fn parse(der: Vec<u8>) -> Result<Self, Fault> {
        let mut subject_key = Vec::new();
        let mut authority_key = None;
        for extension in parse(&der)?.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => subject_key = id.0.to_vec(),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    authority_key = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Ok(Self {
            der,
            subject_key,
            authority_key,
        })
    }

    fn is_root(&self) -> bool {
        self.authority_key.as_ref().is_none_or(|key| *key == self.subject_key)
    }

    fn issuer_key(&self) -> &[u8] {
        self.authority_key.as_deref().unwrap_or_default()
    }
}

/// Sorts certificates from leaf to root. It is an error if they are not one chain.
fn ordered(certificates: Vec<Vec<u8>>) -> Result<Vec<Link>, Fault> {
    let links: Vec<Link> = certificates.into_iter().map(Link::parse).collect::<Result<_, _>>()?;
    let parents: Vec<Option<usize>> = (0..links.len())
        .map(|i| (0..links.len()).find(|j| i != *j && links[i].issuer_key() == links[*j].subject_key))
        .collect();
    let mut leaves = (0..links.len()).filter(|i| !parents.contains(&Some(*i)));
    let leaf = leaves.next().ok_or("no leaf certificate found")?;
    if leaves.next().is_some() {
        return Err("found multiple leaf or disjunct certificates".into());
    }
    let mut order = Vec::new();
    let mut at = Some(leaf);
    while let Some(i) = at {
        if order.contains(&i) {
            return Err("constructing chain resulted in cycle".into());
        }
        order.push(i);
        at = parents[i];
    }
    let mut links: Vec<Option<Link>> = links.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|i| links[i].take()).collect())
}

/// The certificates as PEM, sorted if they are one chain.
pub(super) fn ordered_pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    match ordered(certificates.to_vec()) {
        Ok(links) => links
            .iter()
            .flat_map(|link| pem::of("CERTIFICATE", &link.der))
            .collect(),
        Err(_) => certificates
            .iter()
            .flat_map(|der| pem::of("CERTIFICATE", der))
            .collect(),
    }
}

/// Go's decoder finds blocks at the start of a line only. External Secrets accepts other text before the first block.
fn without_junk(input: &[u8]) -> &[u8] {
    strings::find(input, b"-----BEGIN").map_or(input, |at| &input[at..])
}

fn filter_pem(ctx: &mut Context, args: &[Val]) -> Ran {
    ctx.reserve(text(args, 1).len().saturating_mul(2))?;
    let mut rest = without_junk(text(args, 1));
    let mut out = Vec::new();
    loop {
        ctx.work(1 + rest.len() as u64 / 256)?;
        let (block, after) = pem::decode(rest);
        rest = after;
        let Some(block) = block else { break };
        if String::from_utf8_lossy(&block.kind).to_lowercase() == String::from_utf8_lossy(text(args, 0)).to_lowercase()
        {
            out.extend_from_slice(&pem::encode(&block).ok_or("pem: cannot encode a header key that contains a colon")?);
        }
    }
    if out.is_empty() && !rest.is_empty() {
        return Err("error filtering pem: found junk".into());
    }
    ctx.text(out)
}

/// All blocks, with any label.
pub(super) fn blocks(ctx: &mut Context, input: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let mut rest = input;
    let mut all = Vec::new();
    while let (Some(block), after) = pem::decode(rest) {
        ctx.work(1 + rest.len() as u64 / 256)?;
        all.push(block.bytes);
        rest = after;
    }
    // Sorting compares each certificate with each other one.
    ctx.work((all.len() as u64).saturating_mul(all.len() as u64))?;
    Ok(all)
}

fn filter_chain(ctx: &mut Context, args: &[Val]) -> Ran {
    let all = blocks(ctx, text(args, 1))?;
    let chain = ordered(all)?;
    let mut out = Vec::new();
    match text(args, 0) {
        b"leaf" => {
            if let Some(leaf) = chain.first().filter(|leaf| !leaf.is_root()) {
                out = pem::of("CERTIFICATE", &leaf.der);
            }
        }
        b"intermediate" => {
            for link in chain.iter().skip(1).take_while(|link| !link.is_root()) {
                out.extend_from_slice(&pem::of("CERTIFICATE", &link.der));
            }
        }
        b"root" => {
            if let Some(root) = chain.last().filter(|root| root.is_root()) {
                out = pem::of("CERTIFICATE", &root.der);
            }
        }
        _ => {}
    }
    ctx.text(out)
}

fn sans(_: &mut Context, args: &[Val]) -> Ran {
    let block = pem::decode(without_junk(text(args, 0)))
        .0
        .ok_or("failed to decode PEM block")?;
    let certificate = parse(&block.bytes)?;
    let (mut names, mut addresses, mut emails, mut uris) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension() else {
            continue;
        };
        for name in &alternative.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.as_bytes().to_vec()),
                GeneralName::IPAddress(bytes) => addresses.push(address(bytes).ok_or("failed to parse certificate")?),
                GeneralName::RFC822Name(name) => emails.push(name.as_bytes().to_vec()),
                GeneralName::URI(uri) => {
                    let uri = crate::go::url::parse(uri.as_bytes()).ok_or("failed to parse certificate")?;
                    uris.push(uri.text());
                }
                _ => {}
            }
        }
    }
    Ok(Val::strings(
        names.into_iter().chain(addresses).chain(emails).chain(uris),
    ))
}

fn address(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
        16 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            address
                .to_ipv4_mapped()
                .map_or_else(|| address.to_string(), |mapped| mapped.to_string())
        }
        _ => return None,
    };
    Some(text.into_bytes())
}
