import Glibc
import Platform
import Supervision
import TestSupport
import Testing

@testable import Supervisor

@Suite("Changing limits of running instances")
struct LimitChangeTests {
    private static func failure(_ name: String, _ value: String) -> LimitChange.Failure? {
        do throws(LimitChange.Failure) {
            _ = try LimitChange(name: name, value: value)
            return nil
        } catch {
            return error
        }
    }

    @Test("an unknown limit is told with what was probably meant, or with all that there are")
    func unknown() {
        #expect(
            Self.failure("nofiles", "1") == .usage("there is no limit \"nofiles\"; did you mean \"nofile\"?"))
        #expect(
            Self.failure("zebra", "1")
                == .usage(
                    "there is no limit \"zebra\"; there are as core cpu data fsize locks memlock msgqueue nice nofile "
                        + "nproc rss rtprio rttime sigpending stack"))
        #expect(Self.failure("nofile", "many") != nil && Self.failure("nofile", "2:1") != nil)
        #expect(Self.failure("nofile", "1:2") == nil)
    }

    @Test("a refused limit says of which instance and process, why, and what bounds it")
    func refused() throws {
        let child = try TestChild(["/bin/sleep", "60"])
        let most = try #require(LimitText.mostOpenFiles())
        let instance = InstanceProcesses.Instance(
            generation: Generation(1), id: InstanceID(service: "api", number: 2), leader: child.pid, scope: "/run/t#n")
        let change = try LimitChange(name: "nofile", value: "\(most + 1)")
        let outcome = LimitChange.apply([change], to: [instance], keeper: getpid())
        #expect(outcome.settings.isEmpty && outcome.processes == 0)
        #expect(
            outcome.failure
                == .failed(
                    "cannot set nofile of api/2 to \(most + 1) (process \(child.pid), sleep): Operation not permitted; "
                        + "fs.nr_open allows \(most) at most, even to root"))
    }

    @Test(
        "what bounds a limit is named",
        arguments: [
            (
                "nofile", 50, EPERM, 40,
                "it is above the process's hard limit of 40, which only root (CAP_SYS_RESOURCE) may exceed"
            ),
            ("nofile", 200, EPERM, 40, "fs.nr_open allows 100 at most, even to root"),
            (
                "core", 200, EPERM, 40,
                "it is above the process's hard limit of 40, which only root (CAP_SYS_RESOURCE) may exceed"
            ),
            ("core", 200, EPERM, 400, nil), ("core", 200, EACCES, 40, nil),
        ] as [(String, UInt64, Int32, UInt64, String?)])
    func bounds(name: String, wanted: UInt64, code: Int32, hard: UInt64, text: String?) {
        #expect(
            LimitText.refusal(
                of: name, to: LimitPair(soft: wanted, hard: wanted), code: code,
                current: LimitPair(soft: 1, hard: hard), whose: "the process's", most: 100) == text)
    }

    @Test("the log gets old and new values, one line for many instances")
    func lines() throws {
        let children = try (0..<2).map { _ in try TestChild(["/bin/sleep", "60"]) }
        let instances = children.enumerated().map { index, child in
            InstanceProcesses.Instance(
                generation: Generation(UInt64(index + 1)), id: InstanceID(service: "api", number: index + 1),
                leader: child.pid, scope: "/run/t#n")
        }
        let old = try #require(try ResourceLimits.inForce(of: children[0].pid)["core"])
        let changes = [try LimitChange(name: "core", value: "0"), try LimitChange(name: "nofile", value: "10:20")]
        let outcome = LimitChange.apply(changes, to: instances, keeper: getpid())
        #expect(outcome.failure == nil && outcome.processes == 2)
        let lines = LimitChange.lines(outcome.settings)
        #expect(lines.first == "limit core of api/1, api/2 changed from \(LimitText.pair(old)) to 0")
        #expect(lines.count == 2 && lines.last?.hasSuffix(" to 10:20") == true)
    }
}
