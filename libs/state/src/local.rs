//! A replica's own state that the pool state does not contain yet, and the view that its decisions read.

mod arrivals;
mod backlog_reporter;
mod bookings;
mod feedback_batcher;
mod local_state;
mod outbox;
mod overlay;
mod placed_prompt;
mod prefix_matches;
mod recent_adapter_sends;
mod recent_probes;
mod response_tracker;
mod served_durations;
mod unserved_booking;
mod view;

pub use self::arrivals::Arrivals;
pub use self::backlog_reporter::BacklogReporter;
pub use self::bookings::{Booking, Bookings, ChangeNotifier, InFlightGauge};
pub use self::feedback_batcher::FeedbackBatcher;
pub use self::local_state::{LocalState, PeerLoad};
pub use self::outbox::Outbox;
pub use self::overlay::Overlay;
pub use self::placed_prompt::PlacedPrompt;
pub use self::prefix_matches::PrefixMatches;
pub use self::recent_adapter_sends::RecentAdapterSends;
pub use self::recent_probes::RecentProbes;
pub use self::response_tracker::ResponseTracker;
pub use self::served_durations::ServedDurations;
pub use self::unserved_booking::UnservedBooking;
pub use self::view::View;
