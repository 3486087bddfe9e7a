#![allow(clippy::unwrap_used)]

use super::*;
use osier_babel::CostModel;

fn parse(text: &str) -> Result<Config, FileError> {
    Config::parse(text, Path::new("babel.toml"))
}

#[test]
fn the_sample_in_the_manual_is_valid_and_uses_every_key() {
    let sample = include_str!("../../../../../docs/osier-babel.toml");
    let config = parse(sample).unwrap();
    assert_eq!(config.check(), Ok(()));
    let names: Vec<_> = config.interfaces.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["eth0", "wlan0", "wg0"]);
    let costs: Vec<_> = config.interfaces.iter().map(|i| i.rx_cost).collect();
    assert_eq!(costs, [96, 300, 96]);
    assert_eq!(
        (
            config.import.len(),
            config.export.len(),
            config.install_rules.len()
        ),
        (4, 2, 1)
    );
    assert_eq!(config.import[0].action, Action::Accept { add: 64 });
    assert_eq!((config.mac.keys.len(), config.mac.sign_only), (1, false));
    let rtts: Vec<_> = config.interfaces.iter().map(|i| i.rtt).collect();
    assert_eq!(rtts, [false, true, true]);
    let metrics: Vec<_> = config.redistribute.iter().map(|r| r.metric).collect();
    assert_eq!(metrics, [None, Some(128), Some(0)]);
    // What the remarks call the default is what comes without the key.
    let mut without = sample.to_owned();
    for key in [
        "mac-sign-only = false",
        "hello-ms = 4000",
        "update-ms = 16000",
        "table = \"main\"",
        "metric = 1042",
    ] {
        assert!(without.contains(key), "{key}");
        without = without.replacen(key, "#", 1);
    }
    assert_eq!(format!("{:?}", parse(&without).unwrap()), format!("{config:?}"));
}

#[test]
fn a_file_with_nothing_in_it_has_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.hello_interval, Config::DEFAULT_HELLO_INTERVAL);
    assert_eq!(config.install, Install::MAIN);
    assert!(config.check().unwrap_err().to_string().contains("[[interface]]"));
}

#[test]
fn kinds_of_links_differ_in_cost_model_and_split_horizon() {
    let config = parse(
        "[[interface]]\nname = 'a'\n[[interface]]\nname = 'b'\nkind = 'wireless'\n[[interface]]\nname = 'c'\nkind = 'tunnel'",
    )
    .unwrap();
    let seen: Vec<_> = config
        .interfaces
        .iter()
        .map(|i| (i.rx_cost, i.kind.cost_model(), i.kind.split_horizon()))
        .collect();
    assert_eq!(
        seen,
        [
            (96, CostModel::TwoOutOfThree, true),
            (256, CostModel::Etx, false),
            (96, CostModel::Etx, true)
        ]
    );
}

#[test]
fn a_list_of_prefixes_is_as_many_rules() {
    let config = parse("[[import]]\nprefix = ['10.0.0.0/8', 'fd00::/8']\nle = 32\naction = 'deny'").unwrap();
    let fits = |prefix: &str| {
        let prefix = prefix.parse().unwrap();
        config
            .import
            .iter()
            .any(|rule| rule.prefix.unwrap().contains(&prefix))
    };
    assert!(fits("10.1.0.0/16") && fits("fd00::/32") && !fits("fd00::/33") && !fits("11.0.0.0/8"));
}

#[test]
fn the_update_interval_follows_the_hellos() {
    let config = parse("hello-ms = 500").unwrap();
    assert_eq!(config.update_interval, Duration::from_secs(2));
    let config = parse("hello-ms = 600000").unwrap();
    assert_eq!(config.update_interval, LONGEST_INTERVAL);
}

/// Text, line, key, and a part of the reason or advice.
const MISTAKES: &[(&str, usize, &str, &str)] = &[
    ("hello-ms = ", 1, "hello-ms", "value"),
    ("\nhelo-ms = 4000", 2, "helo-ms", "expected one of"),
    ("hello-ms = 4000\nhello-ms = 4000", 2, "hello-ms", "duplicate"),
    ("hello-ms = 'fast'", 1, "hello-ms", "i64"),
    ("hello-ms = 9", 1, "hello-ms", "10 to 655350"),
    ("hello-ms = -1", 1, "hello-ms", "10 to 655350"),
    ("hello-ms = 700000", 1, "hello-ms", "10 to 655350"),
    (
        "hello-ms = 4000\nupdate-ms = 1000",
        2,
        "update-ms",
        "at least the Hello interval, which is 4000 ms",
    ),
    ("router-id = 'xyz'", 1, "router-id", "16 hexadecimal digits"),
    (
        "router-id = '0000000000000000'",
        1,
        "router-id",
        "16 hexadecimal digits",
    ),
    ("prefixes = ['10.0.0.0']", 1, "prefixes", "10.0.0.0/8"),
    ("prefixes = ['10.0.0.1/8']", 1, "prefixes", "write 10.0.0.0/8"),
    (
        "prefixes = [\n  '10.0.0.0/8',\n  'fe80::/64',\n]",
        1,
        "prefixes",
        "cannot be announced",
    ),
    ("prefixes = '10.0.0.0/8'", 1, "prefixes", "sequence"),
    ("mac = 'blake2s:5ecre7'", 1, "mac", "a list of keys"),
    ("mac = ['md5:5ecre7']", 1, "mac", "a MAC key is"),
    ("mac = [5]", 1, "mac", "hmac-sha256:HEX"),
    ("[kernel]\ntable = 255", 2, "table", "main"),
    ("[kernel]\ntable = true", 2, "table", "text"),
    ("[kernel]\nmetric = -1", 2, "metric", "u32"),
    ("[kernal]\nmetric = 1", 1, "[kernal]", "kernel"),
    (
        "[[interface]]\nkind = 'wired'",
        1,
        "[[interface]]",
        "`name` is missing here: add it",
    ),
    ("[[interface]]\nname = 'far/too'", 2, "name", "1 to 15 characters"),
    ("[[interface]]\nname = 'a'\nkind = 'wierd'", 3, "kind", "wired"),
    ("[[interface]]\nname = 'a'\nrxcost = 0", 3, "rxcost", "1 to 65534"),
    (
        "[[interface]]\nname = 'a'\nrxcost = 65535",
        3,
        "rxcost",
        "1 to 65534",
    ),
    (
        "[[interface]]\nname = 'a'\nhello-ms = 1000\nupdate-ms = 10",
        4,
        "update-ms",
        "1000 ms",
    ),
    (
        "[[interface]]\nname = 'a'\n[[interface]]\nname = 'a'",
        4,
        "name",
        "merge",
    ),
    ("[interface]\nname = 'a'", 1, "[interface]", "sequence"),
    (
        "[[import]]\nprefix = '10.0.0.0/8'",
        1,
        "[[import]]",
        "`action` is missing here",
    ),
    ("[[import]]\naction = 'drop'", 2, "action", "deny"),
    (
        "[[import]]\naction = 'deny'\nadd-metric = 1",
        3,
        "add-metric",
        "remove",
    ),
    (
        "[[import]]\naction = 'accept'\nadd-metric = 0",
        3,
        "add-metric",
        "1 to 65534",
    ),
    ("[[import]]\naction = 'deny'\nge = 8", 3, "ge", "prefix"),
    (
        "[[import]]\naction = 'deny'\nprefix = '10.0.0.0/8'\nge = 4",
        4,
        "ge",
        "8 or more",
    ),
    (
        "[[import]]\naction = 'deny'\nprefix = '10.0.0.0/8'\nle = 64",
        4,
        "le",
        "at most 32",
    ),
    (
        "[[import]]\naction = 'deny'\nprefix = '10.0.0.0/8'\nge = 24\nle = 16",
        4,
        "ge",
        "nothing could match",
    ),
    (
        "[[import]]\naction = 'deny'\nprefix = []",
        3,
        "prefix",
        "leave the key out",
    ),
    (
        "[[import]]\naction = 'deny'\nprefix = [1]",
        3,
        "prefix",
        "as text",
    ),
    (
        "[[import]]\naction = 'deny'\nneighbour = '10.0.0.1'",
        3,
        "neighbour",
        "fe80::1",
    ),
    (
        "[[import]]\naction = 'deny'\nsource = 'some'",
        3,
        "source",
        "none",
    ),
    (
        "[[export]]\naction = 'deny'\nneighbour = 'fe80::1'",
        3,
        "neighbour",
        "interface",
    ),
    (
        "[[install]]\naction = 'accept'\nadd-metric = 9",
        3,
        "add-metric",
        "[[import]]",
    ),
    (
        "[[interface]]\nname = 'a'\n[[import]]\naction = 'deny'\ninterface = 'b'",
        5,
        "interface",
        "no [[interface]] section is called \"b\"",
    ),
    (
        "[[redistribute]]\nmetric = 1",
        1,
        "[[redistribute]]",
        "`protocol`, `interface` or `prefix`",
    ),
    ("[[redistribute]]\nprotocol = 'statik'", 2, "protocol", "static"),
    (
        "[[redistribute]]\nprotocol = 4\nmetric = 65535",
        3,
        "metric",
        "0 to 65534",
    ),
    (
        "[[redistribute]]\nprotocol = 4\nmetric = 1\naction = 'deny'",
        3,
        "metric",
        "remove",
    ),
];

#[test]
fn mistakes_are_named_with_line_key_and_remedy() {
    let mut wrong = Vec::new();
    for (text, line, key, reason) in MISTAKES {
        let error = match parse(text) {
            Ok(_) => {
                wrong.push(format!("accepted: {text:?}"));
                continue;
            }
            Err(error) => error.to_string(),
        };
        let start = format!("babel.toml, line {line}, `{key}`: ");
        if error.contains("5ecre7")
            || !error.starts_with(&start)
            || !error.contains(reason)
            || error.contains('\n')
        {
            wrong.push(format!("{text:?}\n  gives {error}\n  not   {start}…{reason}…"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nonexistent/babel.toml")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/babel.toml"), "{error}");
}

proptest::proptest! {
    /// Whatever stands in a file, we answer.
    #[test]
    fn any_text_is_read_without_panic(text in "[\\[\\]a-z=\"'0-9:./ \n-]{0,120}") {
        let _ = parse(&text);
    }
}
