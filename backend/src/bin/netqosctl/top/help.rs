//! What `?` shows.

/// Its lines, in 80 columns.
pub(super) const HELP: [&str; 17] = [
    "Each guest has one line, each direction the same columns:",
    "  rate      bit/s on the wire, since the last refresh",
    "  of limit  that rate, as a part of the ceil; a class without one",
    "            has its guest's",
    "  shr       of what its uplink carries; of a class: of what its guest has",
    "  p99       99 of 100 frames waited less than this in our queues",
    "  drops     frames dropped a second",
    "",
    "  up down pgup pgdn home end   choose a guest or class",
    "  enter     show the guest's classes, or hide them",
    "  n f t d x order by name, from-guest rate, to-guest rate, p99, drops",
    "  /         only guests whose name has this in it; esc ends that",
    "  p         hold the picture, or go on",
    "  q         quit",
    "",
    "A + or - before a name: classes can be shown, or are. ~: no front-end is",
    "connected. =: the guest is paused. Any key ends this help.",
];
