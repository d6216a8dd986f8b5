//! The longer texts of `--help`, in 80 columns.

/// The whole.
pub(crate) const ABOUT: &str = "Looks at a netqos-vhost daemon, changes what it does, and tries out how it \
                     shares a link.";

/// Below the help of the whole.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the daemon refuses, or something fails
  2  the command line, a file or other input is wrong
  3  someone else has changed the configuration meanwhile
  4  no daemon can be reached";

/// `simulate`, at length.
pub(crate) const SIMULATE_ABOUT: &str = "\
Simulates a class tree under given traffic, in virtual time.

Says what every class and every source got: rates, delays, losses. The link is
the tree's root; TCP senders are models (Reno, CUBIC, DCTCP) that answer losses
and marks. Equal files and seeds give equal figures.";

/// The files of `simulate`.
pub(crate) const SIMULATE_FILES: &str = "\
The tree, for example:
  [[class]]
  id = \"1:0\"          as in tc: hexadecimal
  name = \"uplink\"     optional
  ceil = \"1gbit\"      at the root: the speed of the link
  [[class]]
  id = \"1:10\"
  parent = \"uplink\"
  rate = \"100mbit\"    guaranteed
Also: ceil, weight, prio (0 to 3), burst, cburst, pps, ppsburst, overhead, mpu,
quantum, pace, and queue: \"hold\", \"fifo\" (fifo = FRAMES), or \"flows\" (a table
[class.flows] of frames, buckets, target, interval, ce_threshold).
For the whole tree: overcommit (\"reject\" or \"scale\"), frames, unit,
segment_nanos.

The traffic, for example:
  seconds = 20
  warm_up = \"5s\"      not counted
  [[source]]
  class = \"1:10\"
  kind = \"tcp\"
  flows = 4
Of tcp also: control (reno, cubic, dctcp), rtt, ecn, segments, autosize, mss,
headers, bytes, window. Other kinds: cbr (rate or interval, frame), on-off
(rate, on, off, frame), flood (frame). All have flows, start, stop.

Exit code: 0, 2 for a wrong command line or file, 1 for anything else.";

/// `set`, at length.
pub(crate) const SET_ABOUT: &str = "\
Changes settings of a guest, or of one of its classes.

Says what is different then. A change that others have made at the same time is
not overwritten: the exit code is 3, and what they changed is shown.";

/// What can be set.
pub(crate) const SET_KEYS: &str = "\
Keys, as in the daemon's file (netqos-vhost --help-config explains them):
  rate ceil weight prio burst cburst pps ppsburst overhead mpu quantum pace
KEY=none takes a limit or guarantee away. KEY= makes it as if the file had not
said it, so that the guest's template or the default decides.

Examples:
  netqosctl set vm1 both ceil=100mbit
  netqosctl set vm1/voice from-guest rate=2mbit prio=0 --dry-run

A guest whose name has a colon is written with a slash behind: `set a:b/ ...`.";

/// `apply`, at length.
pub(crate) const APPLY_ABOUT: &str = "\
Serves the configuration of a file from now on.

Says what is different: + new, - gone, ~ changed. Uplinks can only be those of
the daemon's own file. If others change something at the same time nothing is
changed: the exit code is 3, and what they changed is shown. To be sure that
what is applied is what --dry-run has shown, name the generation it has shown.";

/// How `explain` is told of a frame.
pub(crate) const PACKET: &str = "\
PACKET is words, or bytes as hex:5254...:
  udp | tcp | icmp | icmp6 | arp | ip    what it carries, with ip: proto P
  [SOURCE] [\">\" DESTINATION]             ADDRESS or ADDRESS:PORT; quote the >, or
                                         write src SOURCE dst DESTINATION
  from MAC  to MAC                       who sends and receives it; one of them
                                         is the guest unless another is given
  vlan ID [prio N]  dscp EF  ecn ce  ttl N  flags syn,ack  len BYTES

Examples:
  netqosctl explain vm1 \"udp 192.0.2.1:53 > 198.18.0.1:1234 dscp EF len 200\"
  netqosctl explain vm1 --direction to-guest tcp dst 192.0.2.7:22 flags syn";

/// What a capture holds.
pub(crate) const CAPTURE: &str = "\
Without -w every frame is a line. In the file (pcapng) the interface is named
after the guest, and each frame's comment says class and verdict: sent, local,
or why it was dropped. Ends with --frames, --seconds or Ctrl-C.

Examples:
  netqosctl capture vm1 -w vm1.pcapng --seconds 10
  netqosctl capture vm1 -w - | wireshark -k -i -";

/// The keys of a new guest.
pub(crate) const ADD_KEYS: &str = "\
The file of --keys holds what the daemon's file would say below [guest.NAME]
(netqos-vhost --help-config lists the keys), for example:
  uplink = \"lan\"
  [from_guest]
  rate = \"10mbit\"
Templates and defaults are those of the daemon's file.";
