//! A key as the pages show it.

use gateway_core::{
    moment::{Reset, UnixMs},
    money::Nanos,
};
use gateway_store::KeyRecord;

use super::Page;
use crate::written::When;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// A key that was made so long ago and never used is one that nobody seems to need.
const UNUSED_MS: u64 = 7 * DAY_MS;
const IDLE_MS: u64 = 90 * DAY_MS;

/// A key, and when it is looked at.
pub(super) struct KeyView<'a> {
    page: &'static Page,
    record: &'a KeyRecord,
    at: UnixMs,
}

impl<'a> KeyView<'a> {
    pub(super) fn of(page: &'static Page, record: &'a KeyRecord, at: UnixMs) -> Self {
        Self { page, record, at }
    }

    /// The path of its own page.
    pub(super) fn path(&self) -> String {
        self.page.key(self.record.id)
    }

    pub(super) fn name(&self) -> &'a str {
        &self.record.name
    }

    pub(super) fn prefix(&self) -> &'a str {
        &self.record.prefix
    }

    pub(super) fn created(&self) -> When {
        When(self.record.created_at)
    }

    pub(super) fn last_used(&self) -> Option<When> {
        self.record.last_used_at.map(When)
    }

    pub(super) fn expires(&self) -> Option<When> {
        self.record.allowance.expires_at.map(When)
    }

    /// Until when values that were rotated out still work, if any does.
    pub(super) fn old_until(&self) -> Option<When> {
        if self.is_expired() { None } else { self.record.grace_ends_at(self.at).map(When) }
    }

    pub(super) fn is_active(&self) -> bool {
        self.record.allowance.active
    }

    fn is_expired(&self) -> bool {
        self.record.allowance.expires_at.is_some_and(|expires| expires <= self.at)
    }

    /// In one or two words, what a request with it meets.
    pub(super) fn status(&self) -> &'static str {
        match self.record.allowance.limit_remaining(self.at) {
            _ if self.is_expired() => "Expired",
            _ if !self.is_active() => "Deactivated",
            Some(Nanos::ZERO) => "Limit reached",
            _ => "Active",
        }
    }

    /// What it spent in the period.
    pub(super) fn spent(&self) -> Nanos {
        self.record.allowance.period_spent(self.at)
    }

    pub(super) fn limit(&self) -> Option<Nanos> {
        self.record.allowance.spend_limit
    }

    /// Which period that is.
    pub(super) fn period(&self) -> &'static str {
        match self.record.allowance.reset {
            None => "in total",
            Some(Reset::Daily) => "today",
            Some(Reset::Weekly) => "this week",
            Some(Reset::Monthly) => "this month",
        }
    }

    /// What makes it a greater risk than it has to be. A key that opens nothing is none.
    pub(super) fn hints(&self) -> Vec<&'static str> {
        if self.is_expired() || !self.is_active() {
            return Vec::new();
        }
        let (record, at) = (self.record, self.at);
        let unused = record.last_used_at.is_none() && record.created_at.plus_ms(UNUSED_MS) <= at;
        let idle = record.last_used_at.is_some_and(|used| used.plus_ms(IDLE_MS) <= at);
        let unlimited = self.page.is_api() && self.limit().is_none();
        let endless = record.allowance.expires_at.is_none();
        let all = [
            (unused, "Never used: still needed?"),
            (idle, "Not used for 90 days: still needed?"),
            (unlimited, "Set a spend limit"),
            (endless, "Set an expiry date"),
        ];
        all.into_iter().filter_map(|(holds, hint)| holds.then_some(hint)).collect()
    }
}
