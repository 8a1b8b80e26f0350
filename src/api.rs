//! One router, two doors.
