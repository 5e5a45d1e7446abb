//! The part of a list that a client asks for.

use gateway_core::{error::ApiError, ids::RequestId};

use crate::Request;

const MOST_ENTRIES: usize = 50;
/// Beyond this an offset costs more to skip than a client should make us pay; a cursor costs nothing.
const MOST_OFFSET: usize = 10_000;

/// `limit`, `offset` and `cursor` of a list's query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// Entries to give, 1 to 50.
    pub limit: usize,
    /// Entries to skip.
    pub offset: usize,
    /// The last entry of the page before.
    pub cursor: Option<RequestId>,
}

impl Request {
    /// The part of a list that the query asks for.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for a number out of range or a cursor that is not one.
    pub fn paging(&self) -> Result<Paging, ApiError> {
        let number = |name: &str, range: std::ops::RangeInclusive<usize>, default: usize| {
            self.query(name).map_or(Ok(default), |text| {
                let wrong = || {
                    let (least, most) = (range.start(), range.end());
                    ApiError::invalid(name, format!("'{name}' must be a whole number from {least} to {most}"))
                };
                text.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
            })
        };
        let cursor = self.query("cursor").map(|text| {
            RequestId::parse(text)
                .ok_or_else(|| ApiError::invalid("cursor", "'cursor' must be the nextCursor of an answer before"))
        });
        Ok(Paging {
            limit: number("limit", 1..=MOST_ENTRIES, MOST_ENTRIES)?,
            offset: number("offset", 0..=MOST_OFFSET, 0)?,
            cursor: cursor.transpose()?,
        })
    }
}
