//! Requests in flight that this replica has booked, with or without an open ext-proc stream.

pub(crate) mod booked_prompt;
pub(crate) mod booked_request;
pub(crate) mod booking_numbers;
pub(crate) mod caching_reports;
pub(crate) mod detached_bookings;
pub(crate) mod unserved_bookings;
