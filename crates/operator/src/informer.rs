//! A cache of all objects of one kind, kept up to date by a watch. client-go calls it informer, kube-rs reflector.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::DynamicObject;
use kube::core::{ApiResource, DynamicResourceScope, Object, ObjectMeta, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::api_error::{api_message, status_message};
use crate::index::IndexKey;
use crate::object_key::ObjectKey;

/// How many objects one page of a list has. Small, because each page is in memory as a whole.
const PAGE_SIZE: u32 = 100;

/// A cache of the objects of one kind.
pub(crate) struct Informer<T: Watched> {
    state: RwLock<State<T>>,
    index: Index<T>,
    /// Whether the first list is complete.
    ready: watch::Sender<bool>,
}

/// Computes the index keys of an object.
pub(crate) type Index<T> = fn(&ObjectKey, &T) -> Vec<IndexKey>;

struct State<T: Watched> {
    objects: HashMap<ObjectKey, CacheEntry<T>>,
    index: BTreeSet<(IndexKey, ObjectKey)>,
}

struct CacheEntry<T: Watched> {
    revision: u64,
    encoded: T::Encoded,
}

/// A type that an informer can cache.
pub(crate) trait Watched: Sized + Send + Sync + 'static {
    /// The form in which an object is cached. It is decoded at each access.
    type Encoded: Clone + Send + Sync;

    /// Parses an object and encodes it for the cache. When it fails, it leaves the object's metadata in place.
    ///
    /// # Errors
    /// When the object does not fit its kind.
    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Self::Encoded), serde_json::Error>;

    /// Decodes a cached object.
    fn decode(encoded: &Self::Encoded) -> Option<Arc<Self>>;
}

impl<S, T> Watched for Object<S, T>
where
    S: Clone + DeserializeOwned + Send + Sync + 'static,
    T: Clone + DeserializeOwned + Send + Sync + 'static,
{
    /// JSON takes a third of the memory of the parsed object and is parsed in a few microseconds. There may be thousands of
    /// objects, of which a few are reconciled at a time.
    type Encoded = Arc<[u8]>;

    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Self::Encoded), serde_json::Error> {
        let encoded = serde_json::to_vec(object)?.into();
        Ok((Arc::new(parse(object)?), encoded))
    }

    fn decode(encoded: &Self::Encoded) -> Option<Arc<Self>> {
        let mut object = serde_json::from_slice(encoded).ok()?;
        parse(&mut object).ok().map(Arc::new)
    }
}

/// Parses an object. When it fails, it leaves the object's metadata in place.
fn parse<S, T>(object: &mut DynamicObject) -> Result<Object<S, T>, serde_json::Error>
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
    /// An object with all of its fields, including those that its type here does not have, except `managedFields`.
    pub(crate) fn get_dynamic(&self, key: &ObjectKey) -> Option<DynamicObject> {
        let encoded = self.state.read().objects.get(key)?.encoded.clone();
        serde_json::from_slice(&encoded).ok()
    }
}

/// What happened to an object.
pub(crate) enum ObjectChange<'a, T> {
    /// It was created or changed. With the object before the change, if it was cached.
    Applied(&'a Arc<T>, Option<Arc<T>>),
    /// It was deleted.
    Deleted(&'a Arc<T>),
    /// It exists, but does not fit its kind: it has another version's form, or was stored before the schema forbade it.
    Unreadable(&'a ObjectMeta, &'a serde_json::Error),
}

/// Where an update of the cache comes from.
#[derive(Clone, Copy)]
enum UpdateOrigin {
    /// A complete list. It holds even if it is older than the cache: the API server may have been restored from a backup.
    List,
    /// A watch event. It is ignored if the cache is newer.
    Watch,
    /// The response to our own write. It is applied like a watch event, except that an object that is not in the cache
    /// counts as deleted.
    OwnWrite,
}

/// Which objects of a kind are listed and watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// One namespace, or all.
    pub(crate) namespace: Option<String>,
    /// A label selector.
    pub(crate) labels: Option<String>,
    /// The name of one object, or all.
    pub(crate) name: Option<String>,
}

impl<T: Watched> Informer<T> {
    /// An empty cache. It becomes ready with the first list after [`follow`](Self::follow), or by
    /// [`stay_empty`](Self::stay_empty).
    pub(crate) fn new(index: Index<T>) -> Arc<Self> {
        let state = State {
            objects: HashMap::new(),
            index: BTreeSet::new(),
        };
        Arc::new(Self {
            state: RwLock::new(state),
            index,
            ready: watch::Sender::new(false),
        })
    }

    /// Makes an empty cache ready: the API server does not have the kind, or the options turn it off.
    pub(crate) fn stay_empty(&self) {
        self.ready.send_replace(true);
    }

    /// Lists and watches the kind until the process ends. `on_change` is called for every change and must not block.
    pub(crate) fn follow(
        self: &Arc<Self>,
        client: Client,
        resource: &ApiResource,
        scope: &Scope,
        on_change: impl Fn(&ObjectKey, ObjectChange<'_, T>) + Send + 'static,
    ) {
        let (api, config) = scope.apply::<DynamicObject>(client, resource);
        self.spawn(resource.kind.clone(), watcher::watcher(api, config), on_change);
    }

    /// As [`follow`](Self::follow), but only metadata is requested from the API server.
    pub(crate) fn follow_metadata(
        self: &Arc<Self>,
        client: Client,
        resource: &ApiResource,
        scope: &Scope,
        on_change: impl Fn(&ObjectKey, ObjectChange<'_, T>) + Send + 'static,
    ) {
        let (api, config) = scope.apply::<PartialObjectMeta<DynamicObject>>(client, resource);
        let without_data = |partial: PartialObjectMeta<DynamicObject>| DynamicObject {
            types: partial.types,
            metadata: partial.metadata,
            data: serde_json::Value::Null,
        };
        let events = watcher::watcher(api, config).map_ok(move |event| match event {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(without_data(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(without_data(object)),
            Event::Delete(object) => Event::Delete(without_data(object)),
        });
        self.spawn(resource.kind.clone(), events, on_change);
    }

    fn spawn(
        self: &Arc<Self>,
        kind: String,
        events: impl Stream<Item = Result<Event<DynamicObject>, watcher::Error>> + Send + 'static,
        on_change: impl Fn(&ObjectKey, ObjectChange<'_, T>) + Send + 'static,
    ) {
        let informer = self.clone();
        tokio::spawn(async move {
            let mut events = events.default_backoff().boxed();
            let mut listed = HashSet::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => listed.clear(),
                    Ok(Event::InitApply(object)) => {
                        listed.insert(ObjectKey::of(&object.metadata));
                        informer.update(object, UpdateOrigin::List, &on_change);
                    }
                    Ok(Event::InitDone) => {
                        informer.retain(&std::mem::take(&mut listed), &on_change);
                        informer.ready.send_replace(true);
                    }
                    Ok(Event::Apply(object)) => informer.update(object, UpdateOrigin::Watch, &on_change),
                    Ok(Event::Delete(object)) => informer.remove(&ObjectKey::of(&object.metadata), &on_change),
                    Err(error) => {
                        let error = watch_message(&error);
                        tracing::warn!(%kind, %error, "the watch failed and is started again");
                    }
                }
            }
        });
    }

    /// Takes the API server's response to our own write into the cache, so that the next reconcile does not see the object
    /// from before the write. An object that was deleted meanwhile is not added again.
    pub(crate) fn apply_own_write(&self, object: DynamicObject) {
        let has_finalizers = object.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
        // The API server deletes an object with the write that removes its last finalizer.
        if object.metadata.deletion_timestamp.is_none() || has_finalizers {
            self.update(object, UpdateOrigin::OwnWrite, &|_, _| {});
        }
    }

    /// Waits for the first complete list.
    pub(crate) async fn wait_ready(&self) {
        let mut ready = self.ready.subscribe();
        // Fails only without a sender, and the sender is a field of this informer.
        ready.wait_for(|ready| *ready).await.ok();
    }

    /// Whether the first list is complete.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// An object by its name.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        let encoded = self.state.read().objects.get(key)?.encoded.clone();
        T::decode(&encoded)
    }

    /// The keys of all objects that have an index key.
    pub(crate) fn indexed(&self, by: &IndexKey) -> Vec<ObjectKey> {
        let first = (by.clone(), ObjectKey::cluster(""));
        let state = self.state.read();
        let found = state.index.range(first..).take_while(|(known, _)| known == by);
        found.map(|(_, key)| key.clone()).collect()
    }

    /// How many objects are cached.
    pub(crate) fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// All objects. Each is decoded when the iterator reaches it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (ObjectKey, Arc<T>)> {
        let keys: Vec<ObjectKey> = self.state.read().objects.keys().cloned().collect();
        keys.into_iter().filter_map(|key| {
            let object = self.get(&key)?;
            Some((key, object))
        })
    }

    fn update(
        &self,
        mut object: DynamicObject,
        origin: UpdateOrigin,
        on_change: &impl Fn(&ObjectKey, ObjectChange<'_, T>),
    ) {
        let key = self.intern(ObjectKey::of(&object.metadata));
        let revision = revision(&object.metadata);
        object.metadata.managed_fields = None;
        let parsed = T::encode(&mut object);
        let before = {
            let mut state = self.state.write();
            let cached = state.objects.get(&key).map(|entry| entry.revision);
            let is_outdated = match origin {
                UpdateOrigin::List => false,
                UpdateOrigin::Watch => cached.is_some_and(|cached| cached > revision),
                UpdateOrigin::OwnWrite => cached.is_none_or(|cached| cached > revision),
            };
            if is_outdated {
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
            Ok((object, _)) => on_change(&key, ObjectChange::Applied(object, before)),
            Err(error) => on_change(&key, ObjectChange::Unreadable(&object.metadata, error)),
        }
    }

    /// The equal key that the cache already has, so that all maps share its strings (interning).
    fn intern(&self, key: ObjectKey) -> ObjectKey {
        let state = self.state.read();
        let known = state.objects.get_key_value(&key);
        known.map_or(key, |(known, _)| known.clone())
    }

    fn remove(&self, key: &ObjectKey, on_change: &impl Fn(&ObjectKey, ObjectChange<'_, T>)) {
        let removed = self.state.write().remove(self.index, key);
        if let Some(removed) = removed {
            on_change(key, ObjectChange::Deleted(&removed));
        }
    }

    /// Removes all objects that a complete list does not have.
    fn retain(&self, listed: &HashSet<ObjectKey>, on_change: &impl Fn(&ObjectKey, ObjectChange<'_, T>)) {
        let keys = self.state.read().objects.keys().cloned().collect::<Vec<_>>();
        for key in keys.iter().filter(|key| !listed.contains(*key)) {
            self.remove(key, on_change);
        }
    }
}

impl<T: Watched> State<T> {
    /// Inserts an object, and returns the object that was cached before.
    fn insert(&mut self, index: Index<T>, key: &ObjectKey, object: &T, entry: CacheEntry<T>) -> Option<Arc<T>> {
        let new_keys = index(key, object);
        let before = self.objects.insert(key.clone(), entry);
        let before = before.and_then(|entry| T::decode(&entry.encoded));
        let old_keys = before.as_deref().map(|before| index(key, before)).unwrap_or_default();
        if old_keys != new_keys {
            self.unindex(old_keys, key);
            for index_key in new_keys {
                let index_key = self.intern_index_key(index_key);
                self.index.insert((index_key, key.clone()));
            }
        }
        before
    }

    fn remove(&mut self, index: Index<T>, key: &ObjectKey) -> Option<Arc<T>> {
        let removed = T::decode(&self.objects.remove(key)?.encoded)?;
        self.unindex(index(key, &removed), key);
        Some(removed)
    }

    /// Returns an equal key that is already in the index, so that its strings are shared (interning).
    fn intern_index_key(&self, index_key: IndexKey) -> IndexKey {
        let first = (index_key, ObjectKey::cluster(""));
        match self.index.range(&first..).next() {
            Some((known, _)) if *known == first.0 => known.clone(),
            _ => first.0,
        }
    }

    fn unindex(&mut self, index_keys: Vec<IndexKey>, key: &ObjectKey) {
        for index_key in index_keys {
            self.index.remove(&(index_key, key.clone()));
        }
    }
}

/// The resource version as a number. Kubernetes promises since 1.35 that resource versions may be compared; etcd's
/// revisions always could.
fn revision(meta: &ObjectMeta) -> u64 {
    let version = meta.resource_version.as_deref();
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
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
            page_size: Some(PAGE_SIZE),
            ..watcher::Config::default()
        };
        (api, config)
    }
}

/// Why a watch failed.
fn watch_message(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => api_message(error),
        WatchError(status) => status_message(status),
        NoResourceVersion => error.to_string(),
    }
}

/// Whether an applied object is new, or [`changed_beyond_status`].
pub(crate) fn is_new_or_changed<S: Clone, T: Clone>(before: Option<&Arc<Object<S, T>>>, now: &Object<S, T>) -> bool {
    before.is_none_or(|before| changed_beyond_status(&before.metadata, &now.metadata))
}

/// Whether an object differs in more than its status: in its generation (which counts changes of the spec), labels,
/// annotations, finalizers, deletion or uid.
pub(crate) fn changed_beyond_status(before: &ObjectMeta, after: &ObjectMeta) -> bool {
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
