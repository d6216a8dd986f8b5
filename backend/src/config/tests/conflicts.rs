use super::errors::check;
use super::*;

#[test]
fn what_does_not_go_together_is_told_with_a_way_out() {
    let long = Box::leak(format!("\"/{}\"", "x".repeat(107)).into_boxed_str());
    check(&[
        (
            "bridge = \"br0\"",
            "name = \"w\"",
            "6: name",
            "what [uplink.NAME] has said",
        ),
        (
            "packet:eth1\"",
            "packet:eth1\"\nbridge = \"br0\"",
            "14: bridge",
            "is for taps",
        ),
        (
            "packet:eth1\"",
            "packet:eth1\"\nqueues = 2",
            "14: queues",
            "is for taps",
        ),
        (
            "[template.gold]",
            "[template.gold]\ncount = 2",
            "16: count",
            "write it at the guest",
        ),
        (
            "[template.gold]",
            "[defaults]\nname = \"x\"\n[template.gold]",
            "16: name",
            "is a guest's own",
        ),
        ("name = \"vm{n}\"\n", "", "57", "a guest needs a name"),
        ("\"vm{n}\"", "\"\"", "58: name", "at least one character"),
        ("count = 2", "", "58: name", "write count as well"),
        ("count = 2", "first = 3", "59: first", "write count as well"),
        (
            "uplink = \"wan\"\n",
            "",
            "18",
            "guest `web` needs to say behind which uplink",
        ),
        (
            "socket = \"/run/web.sock\"\n",
            "",
            "18",
            "guest `web` needs a socket",
        ),
        (
            "/run/web.sock",
            "/run/{n}.sock",
            "22: socket",
            "write count as well, or no {n}",
        ),
        (
            "\"/run/web.sock\"",
            long,
            "22: socket",
            "must be 1 to 107, not 108",
        ),
        ("socket_mode", "connect", "23: connect", "excludes socket"),
        ("native = 5", "vlan = 5", "28: trunk", "excludes vlan"),
        (
            "vlan = 7",
            "native = 7",
            "64: native",
            "write trunk as well",
        ),
        (
            "vlan = 7",
            "socket_group = \"no such group\"",
            "64: socket_group",
            "no such group",
        ),
        (
            "class = \"voice\"",
            "class = \"voice\"\ndrop = true",
            "50: drop",
            "one of class, drop and goto",
        ),
        (
            "goto = 3",
            "goto = 3\nclass = \"bulk\"",
            "52: goto",
            "one of class, drop and goto",
        ),
        ("goto = 3\n", "", "50", "this rule does nothing"),
        ("goto = 3", "drop = false", "50", "this rule does nothing"),
        (
            "weight = 5",
            "fifo = 5",
            "42: fifo",
            "add that, or leave them out",
        ),
        (
            "weight = 5",
            "queue = \"hold\"",
            "42: queue",
            "class `bulk` of guest `web` cannot have queue = \"hold\"",
        ),
        (
            "ceil = \"300mbit\" }\n\n[guest",
            "queue = \"hold\" }\n\n[guest",
            "30: queue",
            "no ring to wait in",
        ),
    ]);
}

#[test]
fn trees_and_rules_that_cannot_run_are_told_by_name() {
    check(&[
        (
            "name = \"bulk\"",
            "name = \"voice\"",
            "40: name",
            "taken by the class on line 37",
        ),
        ("name = \"bulk\"", "name = \"a:b\"", "40: name", "no colon"),
        (
            "name = \"rest\"",
            "name = \"rest\"\nparent = \"bulk\"",
            "41: parent",
            "class `bulk` of guest `web` does not lead to the root: its parents form a cycle",
        ),
        (
            "goto = 3",
            "goto = 2",
            "52: goto",
            "guest `web`, rule 2: goto 2 does not lead forward",
        ),
        ("goto = 3", "goto = 9", "52: goto", "has only 3 rules"),
        (
            "vlan = 10",
            "vlan = 4096",
            "51: vlan",
            "guest `web`, rule 2: vlan 4096 is too large",
        ),
        (
            "set_vlan_priority = 3",
            "set_vlan_priority = 8",
            "55: set_vlan_priority",
            "too large; write 0 to 7",
        ),
        (
            "{ rate = \"1mbit\" }",
            "{ burst = \"1k\" }",
            "54: police",
            "neither rate nor pps",
        ),
        (
            "default = \"bulk\"\n[[",
            "[[",
            "18",
            "guest `web` has no default, and its last rule",
        ),
        (
            "name = \"rest\"\ndefault = \"bulk\"",
            "name = \"rest\"\ndefault = \"voice\"",
            "46: default",
            "class `voice` of guest `web` does not lie below class `rest` of guest `web`",
        ),
        (
            "ceil = \"200mbit\"",
            "ceil = \"50mbit\"",
            "34: ceil",
            "guest `web` is guaranteed 100Mbit but may never exceed 50Mbit",
        ),
    ]);
}

/// One guest, whose uplink carries 300 Mbit/s from it.
fn guest(rest: &str) -> String {
    format!(
        "[uplink.wan]\nkind = \"none\"\nfrom_guest.ceil = \"300mbit\"\n\
         [guest.a]\nsocket = \"/a\"\n{rest}"
    )
}

#[test]
fn guarantees_that_do_not_fit_are_told_with_who_and_how_much() {
    let cases = [
        (
            "from_guest.rate = \"200mbit\"\n[guest.b]\nsocket = \"/b\"\nfrom_guest.rate = \"150mbit\"",
            "t.toml:9: rate: with the 150Mbit of guest `b`, the guests of uplink `wan` are guaranteed \
             350Mbit together in from_guest, but it has only 300Mbit to give: raise its ceil, lower \
             theirs, or write overcommit = \"scale\" at the uplink",
        ),
        (
            "[guest.\"b{n}\"]\nsocket = \"/b{n}\"\ncount = 9\nfrom_guest.rate = \"50mbit\"",
            "t.toml:9: rate: with the 50Mbit of guest `b7`, the guests of uplink `wan` are guaranteed \
             450Mbit together",
        ),
        (
            "[guest.a.from_guest]\nrate = \"10mbit\"\ndefault = \"y\"\n\
             class = [{ name = \"x\", rate = \"8mbit\" }, { name = \"y\", rate = \"3mbit\" }]",
            "t.toml:9: rate: with the 3Mbit of class `y` of guest `a`, the classes of guest `a` are \
             guaranteed 11Mbit together in from_guest, but it has only 10Mbit to give: raise its rate",
        ),
        (
            "[guest.a.to_guest]\ndefault = \"x\"\nclass = [{ name = \"x\", rate = \"8mbit\" }]",
            "t.toml:8: rate: with the 8Mbit of class `x` of guest `a`, the classes of guest `a` are \
             guaranteed 8Mbit together in to_guest, but it has only 0bit to give",
        ),
    ];
    for (rest, says) in cases {
        let message = parse(&guest(rest)).unwrap_err();
        assert!(message.starts_with(says), "{message}");
    }
    let scaled = guest("from_guest.rate = \"400mbit\"").replacen(
        "[guest",
        "from_guest.overcommit = \"scale\"\n[guest",
        1,
    );
    parse(&scaled).unwrap();
}

#[test]
fn what_only_a_small_file_shows_is_told_as_well() {
    let cases = [
        (
            "name = \"b\"",
            "t.toml:6: name: `name` is what [guest.NAME] has said",
        ),
        (
            "from_guest.class = [{ name = \"x\" }]",
            "t.toml:6: name: guest `a` needs to say which frames are of which class",
        ),
        (
            "native = 3",
            "t.toml:6: native: `native` is the VLAN of a trunk's",
        ),
        (
            "socket = 3",
            "t.toml:6: socket: this is here already: write it once",
        ),
        (
            "[[guest]]\nname = \"b\"",
            "t.toml:6: guest: this is here already",
        ),
        (
            "count = 3",
            "t.toml:4: the guest `a` is defined already (t.toml:4)",
        ),
        (
            "limit = true",
            "t.toml:6: limit: invalid type: boolean `true`, expected a string such",
        ),
        (
            "from_guest = 1",
            "t.toml:6: from_guest: invalid type: integer `1`, expected a table",
        ),
        ("[uplink.b]", "t.toml:6: missing key `kind`"),
        ("from_guest = {", "t.toml:6: "),
    ];
    for (rest, says) in cases {
        let message = parse(&guest(rest)).unwrap_err();
        assert!(message.starts_with(says), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let alone = parse("[guest.a]\nsocket = \"/a\"").unwrap_err();
    assert_eq!(
        alone,
        "t.toml:1: guest `a` needs an uplink: define one with [uplink.NAME]"
    );
    assert!(parse("").unwrap().guests.is_empty());
}

#[test]
fn files_that_are_not_there_are_told() {
    let error = Config::load(Path::new("/nowhere/t.toml")).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/t.toml: "),
        "{error}"
    );
    let message = parse("include = \"/nowhere/x.toml\"").unwrap_err();
    assert_eq!(
        message,
        "t.toml:1: include: `/nowhere/x.toml`: there is no such file"
    );
    let message = parse("include = [\"/nowhere/*\", \"a[\"]").unwrap_err();
    assert!(
        message.starts_with("t.toml:1: include: `a[`: "),
        "{message}"
    );
}
