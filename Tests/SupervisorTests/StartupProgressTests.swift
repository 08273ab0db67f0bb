import Manifest
import Testing

@testable import Supervision
@testable import Supervisor

@Suite struct StartupProgressTests {
    private static let start = Instant(nanoseconds: 5_000_000_000)
    private static let later = Instant(nanoseconds: 6_240_000_000)

    private static func view(_ name: String, _ state: String, ready: Int, of count: Int = 1) -> Application.ServiceView
    {
        let instances = (1...count).map { number in
            Application.InstanceView(
                id: InstanceID(service: name, number: number), state: state, port: 20_000, isReady: number <= ready,
                isDrained: false,
                restarts: 0)
        }
        return Application.ServiceView(name: name, state: state, goal: .up, ready: ready, instances: instances)
    }

    @Test func aServiceWithoutInstancesHoldsNothingUp() {
        var progress = StartupProgress()
        progress.begin(at: Self.start)
        let idle = Application.ServiceView(name: "idle", state: "down", goal: .down, ready: 0, instances: [])
        #expect(
            progress.lines(
                [idle, Self.view("a", "running", ready: 1)], addresses: ["idle": ["127.0.0.1:80"]], at: Self.later) == [
                    "idle: no instances (replicas: 0)", "a: ready", "everything is up after 1.2 s",
                ])
        #expect(StartupProgress().statusLine([idle], isShuttingDown: false) == "1 of 1 service up")
    }

    @Test func eachServiceIsToldOnceWhenItIsUpAndAllAtTheEnd() {
        var progress = StartupProgress()
        progress.begin(at: Self.start)
        let first = [Self.view("task", "completed", ready: 1), Self.view("api", "starting", ready: 1, of: 2)]
        #expect(progress.lines(first, addresses: [:], at: Self.later) == ["task: completed"])
        #expect(progress.lines(first, addresses: [:], at: Self.later) == [])
        let second = [Self.view("task", "completed", ready: 1), Self.view("api", "running", ready: 2, of: 2)]
        let lines = progress.lines(second, addresses: ["api": ["http://127.0.0.1:80", "unix:/a"]], at: Self.later)
        #expect(lines == ["api: 2 instances ready at http://127.0.0.1:80, unix:/a", "everything is up after 1.2 s"])
        #expect(progress.lines(second, addresses: [:], at: Self.later) == [])
    }

    @Test func nothingIsToldOfWhatHappensAfterTheStart() {
        var progress = StartupProgress()
        #expect(progress.lines([Self.view("a", "running", ready: 1)], addresses: [:], at: Self.later) == [])
    }

    @Test func theStatusLineNamesWhatIsNotUp() {
        let views = [Self.view("a", "running", ready: 1), Self.view("b", "backoff", ready: 0)]
        #expect(StartupProgress().statusLine(views, isShuttingDown: false) == "1 of 2 services up; b backoff")
        #expect(StartupProgress().statusLine(views, isShuttingDown: true) == "stopping: 0 processes left")
        #expect(StartupProgress().statusLine([], isShuttingDown: false) == "no services")
    }

    @Test(arguments: [
        (ReadyCheck.http(HTTPCheck(path: Template(literal: "/"))), "127.0.0.1:80", "http://127.0.0.1:80"),
        (.http(HTTPCheck(path: Template(literal: "/"))), "unix:/run/a", "unix:/run/a"),
        (.tcp, "127.0.0.1:6379", "127.0.0.1:6379"),
        (.started, "[::1]:5432", "[::1]:5432"),
    ])
    func anAddressIsAURLOnlyWhereHTTPIsKnownToBeSpoken(ready: ReadyCheck, address: String, text: String) {
        #expect(Service(name: "a", command: [], ready: ready).opened(address) == text)
    }
}
