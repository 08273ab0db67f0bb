import Platform
import Testing

@Suite("Where the daemon keeps what it needs")
struct DirectoriesTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var flags = Directories.Flags()
        var environment: [String: String] = [:]
        var userID: UInt32 = 0
        var hasUserRuntime = false
        var expected: Directories
        var testDescription: String { name }
    }

    static let systemd = [
        "RUNTIME_DIRECTORY": "/run/a:/run/b", "STATE_DIRECTORY": "/var/lib/a",
        "LOGS_DIRECTORY": "/var/log/a:/var/log/b",
    ]
    static let home = ["HOME": "/home/u"]

    @Test(
        "The command line stands above systemd, and that above the places of the user",
        arguments: [
            Case(
                name: "root alone",
                expected: Directories(runtime: "/run/supd", state: "/var/lib/supd", logs: "/var/log/supd")),
            Case(
                name: "root has no use for XDG", environment: ["HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"],
                expected: Directories(runtime: "/run/supd", state: "/var/lib/supd", logs: "/var/log/supd")),
            Case(
                name: "systemd, the first of each list", environment: systemd,
                expected: Directories(runtime: "/run/a", state: "/var/lib/a", logs: "/var/log/a")),
            Case(
                name: "each flag for itself", flags: .init(runtime: "/r"), environment: systemd,
                expected: Directories(runtime: "/r", state: "/var/lib/a", logs: "/var/log/a")),
            Case(
                name: "relative flags", flags: .init(runtime: "r/", state: "./s//t", logs: "../l"),
                expected: Directories(runtime: "/work/r", state: "/work/s/t", logs: "/work/../l")),
            Case(
                name: "a user with XDG", environment: ["XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/x"],
                userID: 7, expected: Directories(runtime: "/run/user/7/supd", state: "/x/supd", logs: "/x/supd/log")),
            Case(
                name: "a user's home", environment: home.merging(["XDG_RUNTIME_DIR": "/r"]) { $1 }, userID: 7,
                expected: Directories(
                    runtime: "/r/supd", state: "/home/u/.local/state/supd", logs: "/home/u/.local/state/supd/log")),
            Case(
                name: "a user over cron or su, with the directory systemd made", environment: home, userID: 7,
                hasUserRuntime: true,
                expected: Directories(
                    runtime: "/run/user/7/supd", state: "/home/u/.local/state/supd",
                    logs: "/home/u/.local/state/supd/log")),
            Case(
                name: "a user without any", environment: home, userID: 7,
                expected: Directories(
                    runtime: "/home/u/.local/state/supd/run", state: "/home/u/.local/state/supd",
                    logs: "/home/u/.local/state/supd/log")),
            Case(
                name: "relative XDG paths are passed over",
                environment: home.merging(["XDG_RUNTIME_DIR": "r", "XDG_STATE_HOME": "s"]) { $1 }, userID: 7,
                expected: Directories(
                    runtime: "/home/u/.local/state/supd/run", state: "/home/u/.local/state/supd",
                    logs: "/home/u/.local/state/supd/log")),
            Case(
                name: "a user who says where state belongs", flags: .init(state: "/s"), userID: 7,
                expected: Directories(runtime: "/s/run", state: "/s", logs: "/s/log")),
        ])
    func rule(_ example: Case) throws {
        let surroundings = Directories.Surroundings(
            environment: example.environment, userID: example.userID, workingDirectory: "/work"
        ) { path in example.hasUserRuntime && path == "/run/user/\(example.userID)" }
        #expect(try Directories(flags: example.flags, surroundings: surroundings) == example.expected)
    }

    @Test("Without a home, and nothing said, it is an error that says what to do")
    func nowhere() throws {
        let surroundings = Directories.Surroundings(environment: [:], userID: 7, workingDirectory: "/") { _ in false }
        let failure = try #require(
            #expect(throws: Directories.Failure.self) { try Directories(surroundings: surroundings) })
        #expect(failure.description.contains("--state-directory"))
    }

    @Test("An empty path is an error")
    func empty() {
        #expect(throws: Directories.Failure.self) { try Directories(flags: .init(logs: "")) }
    }
}
