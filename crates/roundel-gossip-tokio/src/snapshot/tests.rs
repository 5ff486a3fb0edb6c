use super::*;

fn former(alive: &[(&str, u16)], clocks: [u64; 3]) -> Former {
    let [member, event, query] = clocks;
    let alive = alive.iter();
    Former {
        alive: alive
            .map(|(name, port)| ((*name).to_owned(), ([10, 0, 0, 1], *port).into()))
            .collect(),
        clocks: Clocks {
            member,
            event,
            query,
        },
    }
}

#[test]
fn a_file_of_an_agent_is_replayed() {
    let text = "alive: foo 127.0.0.1:5000\n\
                not-alive: foo\n\
                alive: web-1 10.0.0.1:1\n\
                # a comment\n\
                coordinate: {\"Vec\":[0,0]}\n\
                clock: 7\n\
                event-clock: 3\n\
                query-clock: 5\n\
                alive: six [fd00::1]:7946\n\
                leave\n\
                alive: <x> 10.0.0.1:9\n\
                alive: nowhere\n\
                clock: 99999999999999999999\n\
                clock: 4611686018427387904\n\
                clock: 2\n\
                alive: cut 10.0.";
    let found = replay(text);
    let mut wanted = former(&[("web-1", 1)], [7, 3, 5]);
    let six = "[fd00::1]:7946".parse().unwrap();
    wanted.alive.insert("six".to_owned(), six);
    assert_eq!(found, wanted);
}

#[test]
fn what_is_written_is_what_is_read() {
    let states = [
        Former::default(),
        former(&[("a", 1), ("b", 2)], [1, 0, 0]),
        former(&[("b", 3)], [4, 2, 9]),
        former(&[("b", 3), ("c", 4)], [4, 2, 9]),
    ];
    let mut text = String::new();
    for pair in states.windows(2) {
        text += &changes(&pair[0], &pair[1]);
        assert_eq!(replay(&text), pair[1], "{text}");
    }
    assert_eq!(changes(&states[3], &states[3]), "");
}

#[test]
fn the_file_is_replaced_when_it_has_grown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("members");
    let mut writer = Writer {
        path: path.clone(),
        written: Former::default(),
        complained: false,
        whole: false,
    };
    let mut longest = 0;
    for turn in 0..9000 {
        writer.turn(former(&[("a", turn)], [u64::from(turn), 0, 0]));
        longest = longest.max(std::fs::metadata(&path).unwrap().len());
    }
    let last = former(&[("a", 8999)], [8999, 0, 0]);
    assert_eq!(load(&path).unwrap(), last);
    assert!((SMALL / 2..SMALL + 1000).contains(&longest), "{longest}");
    let len = std::fs::metadata(&path).unwrap().len();
    assert!(len < longest, "{len} of {longest}");
}

#[test]
fn a_file_that_could_not_be_written_is_written_whole_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-yet").join("members");
    let mut writer = Writer {
        path: path.clone(),
        written: Former::default(),
        complained: false,
        whole: false,
    };
    let state = former(&[("a", 1)], [1, 1, 1]);
    writer.turn(state.clone());
    assert!(writer.complained && writer.whole);
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    writer.turn(state.clone());
    assert_eq!(load(&path).unwrap(), state);
}
