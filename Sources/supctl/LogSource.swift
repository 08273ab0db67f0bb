import ControlAPI
import Logs
import Platform

/// Where the logs are, and whose there may be: the daemon says so, and if there is none, the rule for directories.
struct LogSource {
    let directory: String
    private let known: [String]
    /// Services that log sessions now may not have written any; those with a front are known.
    private let services: [String]
    private let servicesWithout: [String]
    /// Those whose lines are JSON objects.
    let objectServices: ObjectServices
    private let trouble: ControlClientError?

    init(_ invocation: Invocation) throws(VerbFailure) {
        let client = try invocation.client()
        let answer = Result { () throws(ControlClientError) in
            try client.ask(.status(names: [], limits: false), as: StatusReport.self, timeout: .seconds(5))
        }
        switch answer {
        case .success(let report):
            directory = report.daemon.logDirectory
            known = report.services.flatMap { $0.instances.map(\.id) }
            services = report.services.filter { !$0.listen.isEmpty }.map(\.name)
            servicesWithout = report.services.filter { $0.replicas == 0 }.map(\.name)
            objectServices = ObjectServices(client, report)
            trouble = nil
        case .failure(let error):
            directory = try invocation.directories().logs
            known = []
            services = []
            servicesWithout = []
            objectServices = ObjectServices(client, nil)
            trouble = error
        }
    }

    /// The instances that names stand for, or the services with sessions: those that run or have left files.
    func logs(named names: [String], ofSessions: Bool) throws(VerbFailure) -> Selector.Choice {
        let written = try reading(LogReader(directory: directory).instances)
            .filter { LogPath.isSessions($0) == ofSessions }
        let known = ofSessions ? services.map(LogPath.sessions) : known
        let all = known + written.filter { [known = Set(known)] in !known.contains($0) }
        if all.isEmpty, let trouble {
            throw VerbFailure(
                .noDaemon, "there are no logs in \(directory)\(Self.elsewhere), and I \(trouble)")
        }
        do throws(Selector.NoSuchName) {
            return try Selector.choose(
                names.isEmpty ? ["all"] : names, among: all, servicesWithout: ofSessions ? [] : servicesWithout)
        } catch {
            // Only a running supd knows where its logs are.
            let advice = trouble.map { "; looked in \(directory)\(Self.elsewhere), for I \($0)" } ?? ""
            throw VerbFailure(.noSuchName, error.description + advice)
        }
    }

    private static let elsewhere = " (if supd keeps them elsewhere, set LOGS_DIRECTORY to that directory)"

    /// Whether there is a log of this name.
    func isWritten(_ name: String) -> Bool {
        (try? reading(LogReader(directory: directory).instances).contains(name)) ?? true
    }

    /// Reads files, with an error turned into this program's.
    func reading<Answer>(_ body: () throws(SystemError) -> Answer) throws(VerbFailure) -> Answer {
        do throws(SystemError) {
            return try body()
        } catch {
            throw VerbFailure(.failed, "cannot read the logs in \(directory): \(error.reason)")
        }
    }
}
