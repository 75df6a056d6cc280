//! The types of parameters, and which values they accept.

use std::rc::Rc;

use crate::go::val::{Elem, Items, Map, Val};

/// The Go type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ty {
    /// `interface {}`
    Any,
    /// `reflect.Value`
    Reflect,
    Str,
    Int,
    Uint32,
    Bool,
    Float,
    /// `map[string]interface {}`
    Map,
    /// `[]interface {}`
    List,
    /// `[]uint8`
    Bytes,
    Time,
    Duration,
    /// `*time.Location`
    Location,
    /// `*semver.Version`
    Version,
    /// A named string type, which accepts only literals.
    HashAlgorithm,
    Cert,
}

impl Ty {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Reflect => "reflect.Value",
            Self::Str => "string",
            Self::Int => "int",
            Self::Uint32 => "uint32",
            Self::Bool => "bool",
            Self::Float => "float64",
            Self::Map => "map[string]interface {}",
            Self::List => "[]interface {}",
            Self::Bytes => "[]uint8",
            Self::Time => "time.Time",
            Self::Duration => "time.Duration",
            Self::Location => "*time.Location",
            Self::Version => "*semver.Version",
            Self::HashAlgorithm => "sprig.HashAlgorithm",
            Self::Cert => "sprig.certificate",
        }
    }

    pub(crate) fn accepts(self, value: &Val) -> bool {
        match self {
            Self::Any | Self::Reflect => true,
            Self::Str => matches!(value, Val::Str(_)),
            Self::Int => matches!(value, Val::Int(_)),
            Self::Uint32 | Self::HashAlgorithm => false,
            Self::Bool => matches!(value, Val::Bool(_)),
            Self::Float => matches!(value, Val::Float(_)),
            Self::Map => matches!(value, Val::Map(map) if !map.strings),
            Self::List => matches!(value, Val::List(list) if list.elem == Elem::Any),
            Self::Bytes => matches!(value, Val::List(list) if list.elem == Elem::Byte),
            Self::Time => matches!(value, Val::Time(_)),
            Self::Duration => matches!(value, Val::Duration(_)),
            Self::Location => matches!(value, Val::Location(_)),
            Self::Version => matches!(value, Val::Version(_)),
            Self::Cert => matches!(value, Val::Cert(_)),
        }
    }

    /// The `nil` of the type, if it has one.
    pub(crate) fn nil(self) -> Option<Val> {
        match self {
            Self::Any | Self::Reflect | Self::Location | Self::Version => Some(Val::Nil),
            Self::Bytes => Some(Val::nil_list(Elem::Byte)),
            Self::Map => Some(Val::Map(Rc::new(Map::new(false, true, Items::new())))),
            Self::List => Some(Val::nil_list(Elem::Any)),
            _ => None,
        }
    }
}
