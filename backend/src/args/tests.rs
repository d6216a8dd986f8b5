use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;
use crate::uplink::IfNameError;

fn clap(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(std::iter::once("netqos-vhost").chain(line.split_whitespace()))
}

fn port(line: &str) -> Result<PortConfig, ArgsError> {
    clap(line).unwrap().port()
}

const LEAST: &str = "--socket /run/vm1.sock --tap vm1";

#[test]
fn the_command_is_well_formed() {
    Args::command().debug_assert();
}

#[test]
fn the_least_command_line_is_one_unlimited_queue_pair() {
    let config = port(LEAST).unwrap();
    let listen = FrontEnd::Listen {
        path: "/run/vm1.sock".into(),
        mode: 0o660,
        group: None,
    };
    assert_eq!(config.front_end, listen);
    assert_eq!(config.tap.name.as_str(), "vm1");
    assert_eq!((config.queues, config.tap.queues, config.mtu), (1, 1, None));
    assert_eq!(config.from_guest, LimitConfig::default());
    assert_eq!(config.to_guest, LimitConfig::default());
    assert_eq!((config.poll, config.mac), (Duration::ZERO, None));
}

#[test]
fn every_option_reaches_its_place() {
    let config = port(
        "--socket-path /run/vm1.sock --socket-mode 0600 --socket-group 107 --tap vm1 --bridge br0 \
         --rate-from-guest 1mbit --rate-to-guest 2mbit --burst 15k --pps 1000 --queues 16 \
         --mtu 9000 --mac 52:54:00:00:00:01 --poll-us 50",
    )
    .unwrap();
    let listen = FrontEnd::Listen {
        path: "/run/vm1.sock".into(),
        mode: 0o600,
        group: Some(107),
    };
    assert_eq!(config.front_end, listen);
    let limit = |bits| LimitConfig {
        rate: Rate::from_bits_per_second(bits),
        burst: Burst::Bytes(15 << 10),
        pps: PacketRate::from_segments_per_second(1000),
    };
    assert_eq!(config.from_guest, limit(1_000_000));
    assert_eq!(config.to_guest, limit(2_000_000));
    assert_eq!(config.tap.bridge.unwrap().as_str(), "br0");
    assert_eq!(
        (config.queues, config.mtu, config.tap.mtu),
        (16, Some(9000), Some(9000))
    );
    assert_eq!(config.mac.unwrap().to_string(), "52:54:00:00:00:01");
    assert_eq!(config.poll, Duration::from_micros(50));
}

#[test]
fn one_rate_limits_both_directions_and_one_of_two_only_its_own() {
    let both = port(&format!("{LEAST} --rate 1gbit")).unwrap();
    assert_eq!(both.from_guest, both.to_guest);
    assert_eq!(
        both.to_guest.rate,
        Rate::from_bits_per_second(1_000_000_000)
    );
    let one = port(&format!("{LEAST} --rate-from-guest 1gbit")).unwrap();
    assert_eq!((one.from_guest, one.to_guest.rate), (both.from_guest, None));
}

#[test]
fn a_burst_is_its_own_option_or_part_of_an_xl_rate() {
    let xl = port(&format!("{LEAST} --rate 10Mb/s@20ms")).unwrap();
    assert_eq!(xl.from_guest.burst, Burst::Duration(20_000_000));
    let own = port(&format!("{LEAST} --rate 10Mb/s@20ms --burst 5ms")).unwrap();
    assert_eq!(own.from_guest.burst, Burst::Duration(5_000_000));
    let neither = port(&format!("{LEAST} --rate 10mbit")).unwrap();
    assert_eq!(neither.from_guest.burst, Burst::Auto);
}

#[test]
fn client_mode_and_inherited_sockets_are_front_ends_too() {
    let connect = FrontEnd::Connect {
        path: "/run/q".into(),
    };
    assert_eq!(
        port("--connect /run/q --tap vm1").unwrap().front_end,
        connect
    );
    assert_eq!(port("--fd 3 --tap vm1").unwrap().front_end, FrontEnd::Fd(3));
    assert_eq!(port("--fd 2 --tap vm1"), Err(ArgsError::Fd(2)));
}

#[test]
fn what_does_not_fit_together_is_a_usage_error_with_code_2() {
    let cases = [
        ("--tap vm1", ErrorKind::MissingRequiredArgument),
        ("--socket /s", ErrorKind::MissingRequiredArgument),
        ("--socket /s --fd 3 --tap vm1", ErrorKind::ArgumentConflict),
        (
            "--socket /s --connect /c --tap vm1",
            ErrorKind::ArgumentConflict,
        ),
        (
            "--fd 3 --socket-mode 0600 --tap vm1",
            ErrorKind::ArgumentConflict,
        ),
        (
            "--fd 3 --tap vm1 --rate 1gbit --rate-to-guest 1gbit",
            ErrorKind::ArgumentConflict,
        ),
        ("--fd 3 --tap vm1 --queues 0", ErrorKind::ValueValidation),
        ("--fd 3 --tap vm1 --queues 17", ErrorKind::ValueValidation),
        ("--fd 3 --tap vm1 --mtu 67", ErrorKind::ValueValidation),
        ("--fd 3 --tap vm1 --mtu 65536", ErrorKind::ValueValidation),
        ("--fd 3 --tap vm1 --bandwidth 3", ErrorKind::UnknownArgument),
    ];
    for (line, kind) in cases {
        let error = clap(line).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
    }
}

#[test]
fn what_means_nothing_is_refused_in_a_sentence_that_names_the_option() {
    let cases = [
        ("--rate 0", "--rate `0`"),
        ("--rate fast", "--rate `fast`"),
        ("--rate-from-guest 1parsec", "--rate-from-guest `1parsec`"),
        ("--rate-to-guest -1", "--rate-to-guest"),
        ("--pps 0", "--pps `0`"),
        ("--rate 1gbit --burst 3furlongs", "--burst `3furlongs`"),
        ("--burst 15k", "--burst needs a rate"),
        ("--socket-mode 0999", "--socket-mode `0999`"),
        ("--socket-mode 01777", "--socket-mode `01777`"),
        ("--socket-mode +660", "--socket-mode `+660`"),
        ("--socket-group no-such-group-here", "no such group"),
        ("--mac 01:00:5e:00:00:01", "multicast"),
        ("--mac 00:00:00:00:00:00", "zero address"),
        ("--bridge vm1", "both name `vm1`"),
        ("--bridge a/b", "--bridge `a/b`"),
    ];
    for (options, part) in cases {
        let line = format!("{LEAST} {options}").replace("--rate-to-guest -1", "--rate-to-guest=-1");
        let error = port(&line).unwrap_err().to_string();
        assert!(error.contains(part), "{options}: {error}");
    }
    let names = [
        ("sixteen-bytes-16", "16 bytes"),
        ("a/b", "'/'"),
        (".", "`.`"),
        ("..", "`..`"),
    ];
    for (name, part) in names {
        let error = port(&format!("--fd 3 --tap {name}"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("--tap") && error.contains(part),
            "{error}"
        );
    }
    let empty = Args::try_parse_from(["netqos-vhost", "--fd", "3", "--tap", ""]).unwrap();
    assert!(matches!(
        empty.port(),
        Err(ArgsError::Name {
            source: IfNameError::Empty,
            ..
        })
    ));
    let path = Args::try_parse_from(["netqos-vhost", "--socket", "", "--tap", "vm1"]);
    assert!(path.is_err(), "clap refuses an empty path");
}

#[test]
fn a_group_is_known_by_name() {
    let config = port(&format!("{LEAST} --socket-group root")).unwrap();
    assert!(matches!(
        config.front_end,
        FrontEnd::Listen { group: Some(0), .. }
    ));
}

#[test]
fn capabilities_need_no_port_and_fit_the_description_file() {
    let args = clap("--print-capabilities").unwrap();
    assert!(args.print_capabilities());
    assert!(matches!(args.port(), Err(ArgsError::Missing(_))));
    assert!(
        clap(&format!("{LEAST} --print-capabilities"))
            .unwrap()
            .print_capabilities()
    );

    let printed: serde_json::Value = serde_json::from_str(CAPABILITIES).unwrap();
    let described = include_str!("../../share/50-netqos-vhost.json");
    let described: serde_json::Value = serde_json::from_str(described).unwrap();
    assert_eq!(printed["type"], "net");
    assert_eq!(described["type"], printed["type"]);
    assert!(described["binary"].as_str().unwrap().starts_with('/'));
    assert!(described["description"].is_string());
}

#[test]
fn the_help_teaches_by_example() {
    let help = Args::command().render_help().to_string();
    for part in [
        "--rate 1gbit",
        "BYTES per second",
        "ip tuntap add",
        "memory-backend-memfd",
    ] {
        assert!(help.contains(part), "{part}");
    }
}

#[test]
fn the_service_unit_promises_its_sandbox() {
    let unit = include_str!("../../share/netqos-vhost@.service");
    let mut section = "";
    let mut settings = Vec::new();
    for line in unit
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with('[') {
            section = line;
        } else {
            settings.push((section, line.split_once('=').expect("a setting")));
        }
    }
    let promised = [
        ("EnvironmentFile", "/etc/netqos/%i.conf"),
        ("ExecStart", "/usr/bin/netqos-vhost $NETQOS_ARGS"),
        ("DynamicUser", "yes"),
        ("AmbientCapabilities", "CAP_NET_ADMIN"),
        ("CapabilityBoundingSet", "CAP_NET_ADMIN"),
        ("NoNewPrivileges", "yes"),
        ("DevicePolicy", "closed"),
        ("DeviceAllow", "/dev/net/tun rw"),
        ("ProtectSystem", "strict"),
        ("RestrictAddressFamilies", "AF_UNIX AF_NETLINK"),
        ("RestrictNamespaces", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("SystemCallArchitectures", "native"),
        ("UMask", "0077"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "2"),
    ];
    for setting in promised {
        assert!(settings.contains(&("[Service]", setting)), "{setting:?}");
    }
    for (at, (key, _)) in settings.iter().enumerate() {
        let twice = settings
            .iter()
            .skip(at + 1)
            .any(|(_, (other, _))| other == key);
        assert!(!twice, "{key} is set twice");
    }
}

fn config(line: &str) -> Result<Config, String> {
    clap(line)
        .unwrap()
        .config()
        .map_err(|error| error.to_string())
}

#[test]
fn the_flags_for_one_guest_are_the_short_form_of_a_file() {
    let flags = config(
        "--socket /run/vm1.sock --socket-mode 0600 --tap vm1 --bridge br0 --rate 100mbit --burst 15k \
         --pps 5000 --queues 4 --mtu 9000 --mac 52:54:00:00:00:01 --poll-us 50",
    )
    .unwrap();
    let file = r#"
poll_us = 50
[uplink.vm1]
kind = "tap:vm1"
bridge = "br0"
queues = 4
mtu = 9000
[guest.vm1]
socket = "/run/vm1.sock"
socket_mode = "0600"
mac = "52:54:00:00:00:01"
queues = 4
mtu = 9000
limit = "100mbit burst 15k"
from_guest.pps = 5000
to_guest.pps = 5000
"#;
    assert_eq!(flags, Config::parse(Path::new("t.toml"), file).unwrap());

    let least = config(LEAST).unwrap();
    let file = "[uplink.vm1]\nkind = \"tap:vm1\"\n[guest.vm1]\nsocket = \"/run/vm1.sock\"";
    assert_eq!(least, Config::parse(Path::new("t.toml"), file).unwrap());
}

#[test]
fn a_file_says_everything_and_its_errors_come_through() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/share/config/host.toml");
    assert_eq!(
        config(&format!("--config {sample}")).unwrap().guests.len(),
        4
    );
    assert!(clap(&format!("--config {sample} --check")).unwrap().check());
    let error = config("--config /nowhere/x.toml").unwrap_err();
    assert!(error.starts_with("/nowhere/x.toml: "), "{error}");
    for flag in [
        "--socket /a",
        "--rate 1mbit",
        "--queues 1",
        "--poll-us 1",
        "--tap t",
    ] {
        let error = clap(&format!("--config {sample} {flag}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{flag}");
    }
    let shards = |line: &str| config(line).map(|config| config.shards);
    assert_eq!(shards(&format!("--config {sample} --shards 3")), Ok(3));
    assert_eq!(shards(&format!("--config {sample}")), Ok(1));
    assert!(clap(&format!("--config {sample} --shards 65")).is_err());
    let error = clap(&format!("{LEAST} --shards 2")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
    for alone in ["--help-config", "--print-config-schema"] {
        assert!(clap(alone).is_ok(), "{alone}");
    }
    assert!(clap("--check").is_err());
}

#[test]
fn limits_that_make_no_tree_are_refused() {
    let error = config(&format!("{LEAST} --rate 1gbit --burst 1b")).unwrap_err();
    assert!(
        error.starts_with("--rate, --burst and --pps: guest `vm1`"),
        "{error}"
    );
}

#[test]
fn privileges_are_kept_when_that_is_asked_for() {
    let kept = clap(&format!("{LEAST} --no-opener")).unwrap().privileges();
    assert_eq!(kept.unwrap(), Privileges::Kept("--no-opener says so"));
    assert!(!clap(LEAST).unwrap().opener());
    assert!(clap(&format!("--opener {LEAST}")).unwrap().opener());
    let help = Args::command().render_long_help().to_string();
    assert!(help.contains("--no-opener") && !help.contains("  --opener"));
}

#[test]
fn a_burst_of_64_kib_holds_any_frame_at_any_rate() {
    for mtu in ["68", "1500", "9000", "65521"] {
        for rate in ["10mbit", "100mbit", "1gbit"] {
            let line = format!("{LEAST} --mtu {mtu} --rate {rate} --burst 64k");
            assert!(config(&line).is_ok(), "{line}");
        }
    }
}
