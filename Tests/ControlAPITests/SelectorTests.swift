import Testing

@testable import ControlAPI

@Suite("Names of services and instances")
struct SelectorTests {
    static let instances = ["db/1", "api/1", "api/2", "api/10", "web-a/1", "web-b/1"]

    @Test(
        "A name, an instance, a glob and all choose what they say, in the order of the manifest",
        arguments: [
            (["api"], ["api/1", "api/2", "api/10"]),
            (["api/2"], ["api/2"]),
            (["api/?"], ["api/1", "api/2"]),
            (["api/*"], ["api/1", "api/2", "api/10"]),
            (["web-*"], ["web-a/1", "web-b/1"]),
            (["web-?"], ["web-a/1", "web-b/1"]),
            (["*"], instances),
            (["*/1"], ["db/1", "api/1", "web-a/1", "web-b/1"]),
            (["*b*"], ["db/1", "web-a/1", "web-b/1"]),
            (["all"], instances),
            (["api/2", "db", "api/2", "api"], ["db/1", "api/1", "api/2", "api/10"]),
            ([], []),
        ])
    func matching(selectors: [String], expected: [String]) throws {
        #expect(try Selector.choose(selectors, among: Self.instances, servicesWithout: []).instances == expected)
    }

    @Test(
        "A name that matches nothing is told, with what was probably meant",
        arguments: [
            ("apu", "there is no service \"apu\"; did you mean \"api\"?"),
            ("api/3", "there is no instance \"api/3\"; did you mean \"api/1\"?"),
            ("zebra", "there is no service \"zebra\""),
            ("x*", "nothing matches \"x*\""),
            ("", "there is no service \"\""),
            ("api/", "there is no instance \"api/\"; did you mean \"api/1\"?"),
            ("al", "there is no service \"al\"; did you mean \"all\"?"),
        ])
    func missing(selector: String, message: String) {
        #expect(
            performing: {
                try Selector.choose([selector, "db"], among: Self.instances, servicesWithout: []).instances
            },
            throws: { "\($0)" == message })
    }

    @Test("All names that match nothing are told at once")
    func allMissing() {
        #expect(
            performing: {
                try Selector.choose(["x", "api", "y/1"], among: Self.instances, servicesWithout: []).instances
            },
            throws: { ($0 as? Selector.NoSuchName)?.names == ["x", "y/1"] })
    }

    @Test("All of nothing is nothing, and no error")
    func allOfNothing() throws {
        #expect(try Selector.choose(["all"], among: [], servicesWithout: []).instances == [])
    }

    @Test("A glob made to be slow is not")
    func hostileGlob() {
        let pattern = String(repeating: "*a", count: 1000) + "b"
        #expect(!Selector.matches(pattern, instance: String(repeating: "a", count: 2000) + "/1"))
    }

    @Test(
        "The nearest word is found, and a distant one is not suggested",
        arguments: [
            ("statsu", "status"), ("STATUS", "status"), ("restrat", "restart"), ("stpo", "stop"), ("log", "logs"),
            ("apply", nil), ("", nil), (String(repeating: "a", count: 100), nil),
        ])
    func suggestions(word: String, expected: String?) {
        let words = ["status", "start", "stop", "restart", "logs"]
        #expect(Suggestion.nearest(to: word, among: words) == expected)
    }

    @Test(
        "A service without instances has a name, too",
        arguments: [
            (["worker"], [], ["worker"], "worker has no instances (replicas: 0)"),
            (["worker", "idle", "db"], ["db/1"], ["worker", "idle"], "worker, idle have no instances (replicas: 0)"),
            (["w*"], ["web-a/1", "web-b/1"], ["worker"], nil),
            (["wor*"], [], ["worker"], "worker has no instances (replicas: 0)"),
            (["all"], instances, ["worker", "idle"], nil),
        ])
    func withoutInstances(selectors: [String], expected: [String], without: [String], text: String?) throws {
        let choice = try Selector.choose(
            selectors, among: Self.instances, servicesWithout: ["worker", "idle"])
        #expect(choice.instances == expected)
        #expect(choice.servicesWithout == without)
        #expect(choice.withoutInstancesText == text)
    }

    @Test("Of those that are to run it is told why there are none, and what brings some up")
    func withoutInstancesToRun() throws {
        func text(_ names: [String], _ former: [String: Int]) throws -> String? {
            try Selector.choose(names, among: Self.instances, servicesWithout: ["worker", "idle"])
                .withoutInstancesText(former: former)
        }
        #expect(
            try text(["worker"], [:])
                == "worker has no instances (replicas: 0); \"supctl scale worker=1\" starts some")
        #expect(
            try text(["worker"], ["worker": 3])
                == "worker has no instances (replicas: 0): scaled to 0 by \"supctl scale\", the manifest says 3; "
                + "\"supctl scale worker=3\" starts some")
        #expect(
            try text(["worker", "idle", "db"], ["idle": 2])
                == "worker, idle have no instances (replicas: 0): idle was scaled to 0 by \"supctl scale\", the manifest "
                + "says 2; \"supctl scale worker=1 idle=2\" starts some")
        #expect(try text(["db"], [:]) == nil)
    }

    @Test("All of services without instances is told, and a name like theirs is suggested")
    func onlyWithout() throws {
        #expect(
            try Selector.choose(["all"], among: [], servicesWithout: ["worker"]).withoutInstancesText
                == "worker has no instances (replicas: 0)")
        #expect(
            performing: { try Selector.choose(["wroker"], among: Self.instances, servicesWithout: ["worker"]) },
            throws: { "\($0)" == "there is no service \"wroker\"; did you mean \"worker\"?" })
        #expect(throws: Selector.NoSuchName.self) {
            try Selector.choose(["worker/1"], among: Self.instances, servicesWithout: ["worker"])
        }
    }
}
