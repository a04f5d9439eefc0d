//! A span that others live in: it ends once, for a reason, and is over when they have all gone.
//!
//! An epoch is one, for the sessions in it; a session is one, for the cells that were spawned with it. Tenants
//! may be on any thread.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The span itself. Dropping it ends it.
pub struct Tenure {
    /// `None` once nobody can become a tenant any more.
    tenant: Option<Tenant>,
    tenants: mpsc::Receiver<Infallible>,
}

/// Someone who lives in it. Clones are further tenants.
#[derive(Clone)]
pub struct Tenant {
    ended: CancellationToken,
    reason: Arc<OnceLock<String>>,
    _alive: mpsc::Sender<Infallible>,
}

impl Default for Tenure {
    fn default() -> Self {
        let (alive, tenants) = mpsc::channel(1);
        Self {
            tenant: Some(Tenant {
                ended: CancellationToken::new(),
                reason: Arc::default(),
                _alive: alive,
            }),
            tenants,
        }
    }
}

impl Tenure {
    /// One more tenant; `None` once it has ended.
    pub fn tenant(&self) -> Option<Tenant> {
        self.tenant.clone()
    }

    /// Tells all tenants to go. The first reason stands.
    pub fn end(&mut self, reason: &str) {
        if let Some(tenant) = self.tenant.take() {
            // Set once: this is the only tenant that can.
            let _ = tenant.reason.set(reason.to_owned());
            tenant.ended.cancel();
        }
    }

    /// Waits until all tenants have gone. Ends it, if that has not been done.
    pub async fn vacant(&mut self) {
        self.end("it has ended");
        self.tenants.recv().await;
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.end("it has ended");
    }
}

impl Tenant {
    /// Whether it is time to go.
    pub fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until it is time to go. Returns why.
    pub async fn over(&self) -> &str {
        self.ended.cancelled().await;
        self.reason.get().map_or("it has ended", String::as_str)
    }
}

/// A tenure that several may let tenants into. Clones are the same one; a handle is no tenant.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Option<Tenure>>>);

impl Default for Shared {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Tenure::default()))))
    }
}

impl Shared {
    /// One more tenant; `None` once it has ended.
    pub fn tenant(&self) -> Option<Tenant> {
        self.lock().as_ref()?.tenant()
    }

    /// Tells all tenants to go. The first reason stands.
    pub fn end(&self, reason: &str) {
        if let Some(tenure) = &mut *self.lock() {
            tenure.end(reason);
        }
    }

    /// Waits until all tenants have gone. Ends it, if that has not been done. Of several who wait one does.
    pub async fn vacant(&self) {
        let tenure = self.lock().take();
        if let Some(mut tenure) = tenure {
            tenure.vacant().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Tenure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_vacant_when_the_last_tenant_has_gone() {
        let mut tenure = Tenure::default();
        let (one, other) = (tenure.tenant().unwrap(), tenure.tenant().unwrap());
        assert!(one.over().now_or_never().is_none());
        tenure.end("why");
        tenure.end("why not");
        assert_eq!(one.over().await, "why");
        assert!(tenure.tenant().is_none());
        drop(one);
        assert!(tenure.vacant().now_or_never().is_none());
        drop(other);
        tenure.vacant().await;
    }

    #[tokio::test]
    async fn a_handle_on_it_is_no_tenant() {
        let shared = Shared::default();
        let handle = shared.clone();
        let tenant = shared.tenant().unwrap();
        handle.end("why");
        assert_eq!(tenant.over().await, "why");
        assert!(shared.tenant().is_none());
        drop(tenant);
        shared.vacant().await;
    }

    #[tokio::test]
    async fn dropping_it_tells_the_tenants() {
        let tenure = Tenure::default();
        let tenant = tenure.tenant().unwrap();
        drop(tenure);
        assert!(tenant.is_over());
    }
}
