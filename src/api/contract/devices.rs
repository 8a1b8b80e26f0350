//! The objects of `/api/v3` that tell of devices and of how far apart they are.

use super::terms::Kind::{Is, List, Perhaps, Text, Time, Whole, Yes};
use super::terms::Shape;

/// All of them.
pub(super) const DEVICES: &[Shape] = &[
    Shape {
        name: "Device",
        what: "A device of the fleet, and the way to it.",
        fields: &[
            ("device", Text, "its id"),
            ("shortId", Text, "the beginning of its id, as people see it"),
            ("name", Text, ""),
            ("platform", Perhaps(&Text), ""),
            ("thisDevice", Yes, "whether it is the one that answers"),
            ("member", Yes, "whether it may speak with us; false when it was removed"),
            ("reachable", Yes, "whether there is a link"),
            ("address", Perhaps(&Text), "where it is reached"),
            ("link", Perhaps(&Is("Link")), ""),
            ("lastContact", Perhaps(&Time), "when it was last heard, by our clock"),
            ("theyMiss", Perhaps(&Whole), "changes that we have and it has not; null when that cannot be known"),
            ("weMiss", Perhaps(&Whole), "changes that it has and we have not; null when that cannot be known"),
            ("clockSkewMs", Perhaps(&Whole), "how far its clock is ahead of ours"),
            ("lastError", Perhaps(&Is("Trouble")), "why it could not be reached the last time"),
        ],
    },
    Shape {
        name: "Link",
        what: "A connection to a device.",
        fields: &[
            ("address", Text, ""),
            ("rttMs", Perhaps(&Whole), "round trip"),
            ("bytesIn", Whole, "of this connection"),
            ("bytesOut", Whole, "of this connection"),
            ("level", Yes, "whether both have the same"),
            ("skipped", Whole, "messages of a later version that were passed over"),
        ],
    },
    Shape { name: "Trouble", what: "Something that went wrong, and when.", fields: &[("at", Time, ""), ("why", Text, "")] },
    Shape {
        name: "SyncRow",
        what: "Another device, and how far apart we are.",
        fields: &[
            ("device", Text, ""),
            ("shortId", Text, ""),
            ("name", Text, ""),
            ("platform", Perhaps(&Text), ""),
            ("thisDevice", Yes, ""),
            ("member", Yes, ""),
            ("reachable", Yes, ""),
            ("address", Perhaps(&Text), ""),
            ("link", Perhaps(&Is("Link")), ""),
            ("lastContact", Perhaps(&Time), ""),
            ("theyMiss", Perhaps(&Whole), ""),
            ("weMiss", Perhaps(&Whole), ""),
            ("clockSkewMs", Perhaps(&Whole), ""),
            ("lastError", Perhaps(&Is("Trouble")), ""),
            ("bytesIn", Whole, ""),
            ("bytesOut", Whole, ""),
            ("inStep", Perhaps(&Yes), "null while there is no link"),
        ],
    },
    Shape {
        name: "MatrixRow",
        what: "What a device misses of the others, as far as this one can know.",
        fields: &[("device", Text, ""), ("deviceName", Text, ""), ("from", List(&Is("MatrixCell")), "")],
    },
    Shape { name: "MatrixCell", what: "", fields: &[("device", Text, ""), ("misses", Perhaps(&Whole), "changes")] },
    Shape { name: "Stranger", what: "", fields: &[("instance", Text, ""), ("address", Text, ""), ("fix", Text, "")] },
];
