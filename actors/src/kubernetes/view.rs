//! All that the watches of one pool show, and what discovery announces of it.
//!
//! Must not know watches. What was known stays here until something newer is complete.

use std::collections::BTreeMap;

use murmuration::dialect::kubernetes::pod::Pod;
use murmuration::dialect::kubernetes::pool::Pool;
use murmuration::request::rewrites::{DatedRules, Rewrites};

use super::objects::{Change, Objects};
use crate::environment::Announcement;

/// What is known of a pool.
#[derive(Debug, Default)]
pub(super) struct View {
    pool: PoolView,
    pods: Objects<Pod>,
    /// The pool as it was when the pods were listed by its selector, with the ports it had last.
    listed: Option<Pool>,
    /// Priorities, by the objective's name, of the current group and of the legacy one.
    pub(super) objectives: [Group<i32>; 2],
    /// Rules for models, likewise.
    pub(super) rewrites: [Group<DatedRules>; 2],
}

/// The pool itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum PoolView {
    /// The API server has not told yet.
    #[default]
    Unknown,
    /// It does not exist.
    Missing,
    /// It is this.
    Known(Pool),
}

/// The objects of one group.
#[derive(Debug)]
pub(super) struct Group<T> {
    pub(super) objects: Objects<T>,
    /// Whether the API server has answered, be it that the group is not installed, or that it may not be read.
    pub(super) answered: bool,
}

// === impl View ===

impl View {
    /// A view of pods that a selector names. There is no pool that objectives could refer to.
    pub(super) fn of_selector(selector: String, ports: Vec<u16>) -> Self {
        let pool = PoolView::Known(Pool { selector, ports, app_protocol: None });
        let mut view = Self { pool, ..Self::default() };
        view.objectives.iter_mut().for_each(|group| group.answered = true);
        view.rewrites.iter_mut().for_each(|group| group.answered = true);
        view
    }

    /// A view of which only the endpoints count.
    pub(super) fn of_endpoints() -> Self {
        let mut view = Self::default();
        view.objectives.iter_mut().for_each(|group| group.answered = true);
        view.rewrites.iter_mut().for_each(|group| group.answered = true);
        view
    }

    /// The selector of the pool's pods; `None` while it is not known.
    pub(super) fn selector(&self) -> Option<&str> {
        match &self.pool {
            PoolView::Known(pool) => Some(&pool.selector),
            PoolView::Unknown | PoolView::Missing => None,
        }
    }

    /// The pool is `pool` from now on; returns whether it differs.
    pub(super) fn pool_is(&mut self, pool: PoolView) -> bool {
        let differs = self.pool != pool;
        self.pool = pool;
        if let (PoolView::Known(pool), Some(listed)) = (&self.pool, &mut self.listed)
            && listed.selector == pool.selector
        {
            listed.clone_from(pool);
        }
        differs
    }

    /// Applies a change of the pods that the pool's selector names; returns whether they differ.
    pub(super) fn pods(&mut self, change: Change<Pod>) -> bool {
        let complete = matches!(change, Change::ListEnds);
        let differs = self.pods.take(change);
        if let (true, PoolView::Known(pool)) = (complete, &self.pool) {
            let former = self.listed.replace(pool.clone());
            return differs || former.as_ref() != Some(pool);
        }
        differs
    }

    /// Forgets the pods.
    pub(super) fn forget_pods(&mut self) {
        self.pods.clear();
        self.listed = None;
    }

    /// What discovery announces; `None` until all of it is known.
    pub(super) fn announcement(&self) -> Option<Announcement> {
        match &self.pool {
            PoolView::Unknown => None,
            PoolView::Missing => Some(Announcement { withdrawn: true, ..Announcement::default() }),
            PoolView::Known(pool) => {
                let (objectives, rewrites) = (current(&self.objectives)?, current(&self.rewrites)?);
                let pods = self.pods.known()?;
                // Until those of a new selector are listed, they are former pods, which serve on former ports.
                let former = self.listed.as_ref().filter(|listed| listed.selector != pool.selector);
                let ports = &former.unwrap_or(pool).ports;
                let endpoints = pods.values().flat_map(|pod| pod.endpoints(ports)).collect();
                let objectives = objectives.cloned().unwrap_or_default();
                let rewrites = rewrites.map(|objects| Rewrites::oldest_first(objects.values())).unwrap_or_default();
                Some(Announcement { endpoints, objectives, rewrites, withdrawn: false })
            }
        }
    }
}

/// The objects that count: those of the legacy group only where the current one is not installed. `None` until the API
/// server has answered for both.
fn current<T: PartialEq>(groups: &[Group<T>; 2]) -> Option<Option<&BTreeMap<String, T>>> {
    let answered = groups.iter().all(|group| group.answered);
    answered.then(|| groups.iter().find_map(|group| group.objects.known()))
}

// === impl Group ===

impl<T: PartialEq> Group<T> {
    /// Whether the cluster has the group; `None` before the API server has answered.
    pub(super) fn is_installed(&self) -> Option<bool> {
        self.answered.then(|| self.objects.known().is_some())
    }

    /// The group is not installed any more, and its objects went with it; returns whether there were any lists of them.
    pub(super) fn uninstalled(&mut self) -> bool {
        let known = self.objects.known().is_some();
        self.objects.clear();
        known
    }
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { objects: Objects::default(), answered: false }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration::dialect::kubernetes::pod::{PodMetadata, PodStatus};
    use murmuration::request::rewrites::{Rewrite, RewriteRule};

    use super::*;

    fn pod(name: &str) -> Pod {
        let status = r#"{"podIP":"10.0.0.1","conditions":[{"type":"Ready","status":"True"}]}"#;
        let status: PodStatus = serde_json::from_str(status).unwrap();
        let (name, namespace) = (name.to_owned(), "prod".to_owned());
        Pod::new(PodMetadata { name, namespace, ..PodMetadata::default() }, &status).unwrap()
    }

    fn pool(ports: &[u16]) -> PoolView {
        PoolView::Known(Pool { selector: "a=b".into(), ports: ports.to_vec(), app_protocol: None })
    }

    fn list<T: PartialEq + Clone>(objects: &mut Objects<T>, listed: &[(&str, T)]) {
        objects.take(Change::ListBegins);
        for (name, object) in listed {
            objects.take(Change::Listed((*name).to_owned(), object.clone()));
        }
        objects.take(Change::ListEnds);
    }

    fn pods(view: &mut View, names: &[&str]) {
        view.pods(Change::ListBegins);
        for name in names {
            view.pods(Change::Listed((*name).to_owned(), pod(name)));
        }
        view.pods(Change::ListEnds);
    }

    fn ids(view: &View) -> Option<String> {
        let ids = view.announcement()?.endpoints.into_iter().map(|endpoint| endpoint.id.name().to_owned());
        Some(ids.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn nothing_is_announced_before_pool_pods_objectives_and_rewrites_are_known() {
        let mut view = View::default();
        assert_eq!(ids(&view), None);
        view.pool_is(pool(&[80]));
        assert_eq!(ids(&view), None);
        pods(&mut view, &["p"]);
        view.objectives.iter_mut().for_each(|group| group.answered = true);
        view.rewrites[0].answered = true;
        assert_eq!(ids(&view), None);
        view.rewrites[1].answered = true;
        assert_eq!(ids(&view).as_deref(), Some("p-rank-0"));
    }

    #[test]
    fn ports_and_pods_together_are_the_endpoints() {
        let mut view = View::of_selector("a=b".into(), vec![80, 81]);
        pods(&mut view, &["p", "q"]);
        assert_eq!(ids(&view).as_deref(), Some("p-rank-0 p-rank-1 q-rank-0 q-rank-1"));
        view.pool_is(pool(&[81]));
        assert_eq!(ids(&view).as_deref(), Some("p-rank-0 q-rank-0"));
        view.pods(Change::ListBegins);
        assert_eq!(ids(&view).as_deref(), Some("p-rank-0 q-rank-0"), "while they are listed anew");
        view.pool_is(PoolView::Missing);
        let missing = view.announcement().unwrap();
        assert!(missing.withdrawn && missing.endpoints.is_empty());
    }

    #[test]
    fn former_pods_keep_their_ports_until_those_of_a_new_selector_are_listed() {
        let of = |selector: &str, ports: &[u16]| {
            PoolView::Known(Pool { selector: selector.into(), ports: ports.to_vec(), app_protocol: None })
        };
        let ports = |view: &View| {
            let announced = view.announcement().unwrap().endpoints.into_iter();
            announced.map(|endpoint| endpoint.address.port()).collect::<Vec<_>>()
        };
        let mut view = View::of_selector("a=b".into(), vec![80]);
        pods(&mut view, &["p"]);
        assert!(view.pool_is(of("a=c", &[90, 91])));
        assert_eq!(ports(&view), [80]);
        // A second edit before the pods are listed, and one back to where it was.
        view.pool_is(of("a=d", &[95]));
        assert_eq!(ports(&view), [80]);
        view.pool_is(of("a=b", &[81]));
        assert_eq!(ports(&view), [81], "the selector is that of the pods again");
        view.pool_is(of("a=c", &[90]));
        assert_eq!(ports(&view), [81]);
        view.pods(Change::ListBegins);
        view.pods(Change::Listed("p".into(), pod("p")));
        assert!(view.pods(Change::ListEnds), "the same pods, and on other ports");
        assert_eq!(ports(&view), [90]);
        view.pool_is(PoolView::Missing);
        view.forget_pods();
        view.pool_is(of("a=e", &[99]));
        assert!(view.announcement().is_none(), "its pods are not listed yet");
    }

    #[test]
    fn the_legacy_group_counts_only_where_the_current_one_is_not_installed() {
        let mut view = View::of_selector("a=b".into(), vec![80]);
        pods(&mut view, &[]);
        let priorities = |view: &View| view.announcement().unwrap().objectives;
        assert!(priorities(&view).is_empty());
        list(&mut view.objectives[1].objects, &[("batch", -1)]);
        assert_eq!(priorities(&view)["batch"], -1);
        list(&mut view.objectives[0].objects, &[("urgent", 7)]);
        assert_eq!(priorities(&view), BTreeMap::from([("urgent".to_owned(), 7)]));
        assert!(view.objectives[0].uninstalled());
        assert_eq!(priorities(&view)["batch"], -1);
        assert!(!view.objectives[0].uninstalled(), "it is known already");
    }

    #[test]
    fn the_oldest_rule_for_a_model_wins() {
        let mut view = View::of_selector("a=b".into(), vec![80]);
        pods(&mut view, &[]);
        let dated = |created: i64, target: &str| {
            let rewrite = Rewrite { name: target.to_owned(), targets: vec![(target.to_owned(), 1)] };
            DatedRules { created, rules: vec![RewriteRule { models: Some(vec!["m".to_owned()]), rewrite }] }
        };
        let objects = [("a", dated(20, "young")), ("b", dated(10, "old")), ("c", dated(10, "as-old"))];
        list(&mut view.rewrites[0].objects, &objects);
        assert_eq!(view.announcement().unwrap().rewrites.target("m", || 0), Some(("old", "old")));
    }
}
