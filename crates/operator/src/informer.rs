//! The objects of a kind, as the API server has them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::DynamicObject;
use kube::core::{ApiResource, DynamicResourceScope, Object, ObjectMeta, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::api_error::{api_message, status_message};
use crate::object_key::ObjectKey;
use crate::templates::TemplateKind;

/// How many objects a list brings at a time. Small, since each page is in memory whole.
const PAGE: u32 = 100;

/// A copy of the objects of a kind that follows the API server.
pub(crate) struct Informer<T: Watched> {
    state: RwLock<State<T>>,
    index: Index<T>,
    ready: watch::Sender<bool>,
}

/// What else an object is to be found by.
pub(crate) type Index<T> = fn(&ObjectKey, &T) -> Vec<IndexKey>;

/// A way to find objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IndexKey {
    /// Secrets by their namespace and their owner's hash.
    Owner(ObjectKey),
    /// ExternalSecrets by the ClusterExternalSecret that owns them.
    Parent(Box<str>),
    /// ExternalSecrets by the Secret they make.
    Target(ObjectKey),
    /// ExternalSecrets by a ConfigMap or Secret that a template of theirs lives in.
    Template(TemplateKind, ObjectKey),
    /// ExternalSecrets and PushSecrets by a store they name; without a name, those that name none.
    Store(ObjectKey),
}

struct State<T: Watched> {
    objects: HashMap<ObjectKey, CacheEntry<T>>,
    indexed: BTreeSet<(IndexKey, ObjectKey)>,
}

/// What can be encoded of an object.
pub(crate) trait Watched: Sized + Send + Sync + 'static {
    /// How it is encoded until somebody looks at it.
    type Encoded: Clone + Send + Sync;

    /// Takes what it needs out of the object; one that can't be read keeps its metadata.
    ///
    /// # Errors
    /// When the object is not as this kind is.
    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Self::Encoded), serde_json::Error>;

    /// The object again.
    fn decode(encoded: &Self::Encoded) -> Option<Arc<Self>>;
}

impl<S, T> Watched for Object<S, T>
where
    S: Clone + DeserializeOwned + Send + Sync + 'static,
    T: Clone + DeserializeOwned + Send + Sync + 'static,
{
    /// As JSON: a third of the memory, and taken apart again in a few microseconds. There may be thousands, and a few at
    /// a time are worked at.
    type Encoded = Arc<[u8]>;

    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Self::Encoded), serde_json::Error> {
        let encoded = serde_json::to_vec(object)?.into();
        Ok((Arc::new(typed(object)?), encoded))
    }

    fn decode(encoded: &Self::Encoded) -> Option<Arc<Self>> {
        let mut object = serde_json::from_slice(encoded).ok()?;
        typed(&mut object).ok().map(Arc::new)
    }
}

/// Takes the object as its kind is; one that is not keeps its metadata.
fn typed<S, T>(object: &mut DynamicObject) -> Result<Object<S, T>, serde_json::Error>
where
    S: Clone + DeserializeOwned,
    T: Clone + DeserializeOwned,
{
    #[derive(Deserialize)]
    struct Body<S, T> {
        spec: S,
        status: Option<T>,
    }
    let Body { spec, status } = serde_json::from_value(object.data.take())?;
    Ok(Object {
        types: None,
        metadata: std::mem::take(&mut object.metadata),
        spec,
        status,
    })
}

impl<T: Watched<Encoded = Arc<[u8]>>> Informer<T> {
    /// An object with all that it has but managed fields, also what its kind does not know.
    pub(crate) fn whole(&self, key: &ObjectKey) -> Option<DynamicObject> {
        let encoded = self.read().objects.get(key)?.encoded.clone();
        serde_json::from_slice(&encoded).ok()
    }
}

struct CacheEntry<T: Watched> {
    revision: u64,
    encoded: T::Encoded,
}

/// What happened to an object.
pub(crate) enum ObjectChange<'a, T> {
    /// It is there; with what was there before.
    Is(&'a Arc<T>, Option<Arc<T>>),
    /// It was.
    Gone(&'a Arc<T>),
    /// It is there, and can't be read: another version's, or changed by hand past its schema.
    Unreadable(&'a ObjectMeta, &'a serde_json::Error),
}

/// How an object came to be known.
#[derive(Clone, Copy)]
enum UpdateOrigin {
    /// What a whole list has is so, even if the server was set back to an earlier time.
    List,
    /// Later than what is known, or nothing new.
    Watch,
    /// As by the watch; but what is not known is gone.
    OwnWrite,
}

/// What the list of objects is narrowed to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// One namespace, or all.
    pub(crate) namespace: Option<String>,
    /// Labels.
    pub(crate) labels: Option<String>,
    /// One object, or all.
    pub(crate) name: Option<String>,
}

impl<T: Watched> Informer<T> {
    /// Follows a kind until the operator ends. `seen` is told of every change; it must not wait. `index` says what else
    /// an object is to be found by, with [`indexed`](Self::indexed).
    pub(crate) fn start(
        client: Client,
        resource: &ApiResource,
        scope: &Scope,
        index: Index<T>,
        seen: impl Fn(&ObjectKey, ObjectChange<'_, T>) + Send + 'static,
    ) -> Arc<Self> {
        let (api, config) = scope.apply::<DynamicObject>(client, resource);
        Self::follow(resource.kind.clone(), watcher::watcher(api, config), index, seen)
    }

    /// As [`start`](Self::start), but only the metadata is fetched.
    pub(crate) fn start_metadata(
        client: Client,
        resource: &ApiResource,
        scope: &Scope,
        index: Index<T>,
        seen: impl Fn(&ObjectKey, ObjectChange<'_, T>) + Send + 'static,
    ) -> Arc<Self> {
        let (api, config) = scope.apply::<PartialObjectMeta<DynamicObject>>(client, resource);
        let whole = |partial: PartialObjectMeta<DynamicObject>| DynamicObject {
            types: partial.types,
            metadata: partial.metadata,
            data: serde_json::Value::Null,
        };
        let events = watcher::watcher(api, config).map_ok(move |event| match event {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(whole(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(whole(object)),
            Event::Delete(object) => Event::Delete(whole(object)),
        });
        Self::follow(resource.kind.clone(), events, index, seen)
    }

    fn follow(
        kind: String,
        events: impl Stream<Item = Result<Event<DynamicObject>, watcher::Error>> + Send + 'static,
        index: Index<T>,
        seen: impl Fn(&ObjectKey, ObjectChange<'_, T>) + Send + 'static,
    ) -> Arc<Self> {
        let informer = Self::new(index, false);
        let following = informer.clone();
        tokio::spawn(async move {
            let mut events = events.default_backoff().boxed();
            let mut listed = HashSet::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => listed.clear(),
                    Ok(Event::InitApply(object)) => {
                        listed.insert(ObjectKey::of(&object.metadata));
                        following.put(object, UpdateOrigin::List, &seen);
                    }
                    Ok(Event::InitDone) => {
                        following.keep_only(&std::mem::take(&mut listed), &seen);
                        following.ready.send_replace(true);
                    }
                    Ok(Event::Apply(object)) => following.put(object, UpdateOrigin::Watch, &seen),
                    Ok(Event::Delete(object)) => following.remove(&ObjectKey::of(&object.metadata), &seen),
                    Err(error) => {
                        let error = watch_words(&error);
                        tracing::warn!(%kind, %error, "watching failed; trying again");
                    }
                }
            }
        });
        informer
    }

    /// Takes over what a write answered, so that the next look is not at an object from before it. One that is gone by
    /// now stays gone.
    pub(crate) fn apply_own_write(&self, object: DynamicObject) {
        let waits_for_nothing = object.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        if object.metadata.deletion_timestamp.is_none() || !waits_for_nothing {
            self.put(object, UpdateOrigin::OwnWrite, &|_, _| {});
        }
    }

    /// An informer of nothing: for kinds that are not there or not wanted.
    pub(crate) fn empty() -> Arc<Self> {
        Self::new(|_, _| Vec::new(), true)
    }

    fn new(index: Index<T>, ready: bool) -> Arc<Self> {
        let state = State {
            objects: HashMap::new(),
            indexed: BTreeSet::new(),
        };
        Arc::new(Self {
            state: RwLock::new(state),
            index,
            ready: watch::Sender::new(ready),
        })
    }

    /// Waits for the first list.
    pub(crate) async fn wait_ready(&self) {
        // The sender lives as long as the informer.
        let mut ready = self.ready.subscribe();
        let _ready = ready.wait_for(|ready| *ready).await;
    }

    /// Whether the first list is there.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// An object.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        let encoded = self.read().objects.get(key)?.encoded.clone();
        T::decode(&encoded)
    }

    /// Whose objects the index says are to be found by this.
    pub(crate) fn indexed(&self, by: &IndexKey) -> Vec<ObjectKey> {
        let first = (by.clone(), ObjectKey::new("", ""));
        let state = self.read();
        let found = state.indexed.range(first..).take_while(|(known, _)| known == by);
        found.map(|(_, key)| key.clone()).collect()
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// All objects, each as it is when its turn comes.
    pub(crate) fn all(&self) -> impl Iterator<Item = (ObjectKey, Arc<T>)> {
        let keys: Vec<ObjectKey> = self.read().objects.keys().cloned().collect();
        keys.into_iter().filter_map(|key| {
            let object = self.get(&key)?;
            Some((key, object))
        })
    }

    fn put(&self, mut object: DynamicObject, origin: UpdateOrigin, seen: &impl Fn(&ObjectKey, ObjectChange<'_, T>)) {
        let key = self.intern(ObjectKey::of(&object.metadata));
        let revision = revision(&object.metadata);
        object.metadata.managed_fields = None;
        let parsed = T::encode(&mut object);
        let before = {
            let mut state = self.write();
            let known = state.objects.get(&key).map(|known| known.revision);
            let is_old = match origin {
                UpdateOrigin::List => false,
                UpdateOrigin::Watch => known.is_some_and(|known| known > revision),
                UpdateOrigin::OwnWrite => known.is_none_or(|known| known > revision),
            };
            if is_old {
                return;
            }
            match &parsed {
                Ok((object, encoded)) => {
                    let encoded = encoded.clone();
                    state.insert(self.index, &key, object, CacheEntry { revision, encoded })
                }
                Err(_) => state.remove(self.index, &key),
            }
        };
        match &parsed {
            Ok((object, _)) => seen(&key, ObjectChange::Applied(object, before)),
            Err(error) => seen(&key, ObjectChange::Unreadable(&object.metadata, error)),
        }
    }

    /// The key as it is encoded already: all that is encoded of an object shares one.
    fn intern(&self, key: ObjectKey) -> ObjectKey {
        let state = self.read();
        state
            .objects
            .get_key_value(&key)
            .map_or(key, |(known, _)| known.clone())
    }

    fn remove(&self, key: &ObjectKey, seen: &impl Fn(&ObjectKey, ObjectChange<'_, T>)) {
        let gone = self.write().remove(self.index, key);
        if let Some(gone) = gone {
            seen(key, ObjectChange::Deleted(&gone));
        }
    }

    fn keep_only(&self, listed: &HashSet<ObjectKey>, seen: &impl Fn(&ObjectKey, ObjectChange<'_, T>)) {
        let gone: Vec<ObjectKey> = self
            .read()
            .objects
            .keys()
            .filter(|key| !listed.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key, seen);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Watched> State<T> {
    fn insert(&mut self, index: Index<T>, key: &ObjectKey, object: &T, known: CacheEntry<T>) -> Option<Arc<T>> {
        let now = index(key, object);
        let before = self.objects.insert(key.clone(), known);
        let before = before.and_then(|known| T::decode(&known.encoded));
        let was = before.as_deref().map(|before| index(key, before)).unwrap_or_default();
        if was != now {
            self.unindex(was, key);
            for by in now {
                let by = self.intern_index_key(by);
                self.indexed.insert((by, key.clone()));
            }
        }
        before
    }

    fn remove(&mut self, index: Index<T>, key: &ObjectKey) -> Option<Arc<T>> {
        let gone = T::decode(&self.objects.remove(key)?.encoded)?;
        self.unindex(index(key, &gone), key);
        Some(gone)
    }

    /// The same, with what it shares with others.
    fn intern_index_key(&self, by: IndexKey) -> IndexKey {
        let first = (by, ObjectKey::new("", ""));
        match self.indexed.range(&first..).next() {
            Some((known, _)) if *known == first.0 => known.clone(),
            _ => first.0,
        }
    }

    fn unindex(&mut self, ways: Vec<IndexKey>, key: &ObjectKey) {
        for by in ways {
            self.indexed.remove(&(by, key.clone()));
        }
    }
}

/// The API server's count of changes. Kubernetes says since 1.35 that it may be compared; it always could.
fn revision(meta: &ObjectMeta) -> u64 {
    meta.resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

impl Scope {
    fn apply<K>(&self, client: Client, resource: &ApiResource) -> (Api<K>, watcher::Config)
    where
        K: kube::Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        };
        let config = watcher::Config {
            label_selector: self.labels.clone(),
            field_selector: self.name.as_ref().map(|name| format!("metadata.name={name}")),
            page_size: Some(PAGE),
            ..watcher::Config::default()
        };
        (api, config)
    }
}

/// Why watching failed.
fn watch_words(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => api_message(error),
        WatchError(status) => status_message(status),
        NoResourceVersion => error.to_string(),
    }
}

/// Whether anything but the status changed.
pub(crate) fn changed(before: &ObjectMeta, after: &ObjectMeta) -> bool {
    fn parts(meta: &ObjectMeta) -> impl PartialEq + '_ {
        let deleted: &Option<Time> = &meta.deletion_timestamp;
        (
            meta.generation,
            &meta.labels,
            &meta.annotations,
            &meta.finalizers,
            deleted,
            &meta.uid,
        )
    }
    parts(before) != parts(after)
}
