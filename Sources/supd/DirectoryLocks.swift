import FoundationEssentials
import Keeper
import Platform
import Supervisor

/// The locks of the three directories, held by the keeper for its whole life and left to the image that takes its place: two supds
/// that share one would undo each other's work, be it the control socket, the history and the events, or the logs.
///
/// The files have names of their own, since the directories may be one and the same.
struct DirectoryLocks {
    /// Why this supd cannot have them, a line for each directory.
    struct Refusal: Error {
        var text: String
        /// For exit(3): 2 if another supd has one of them.
        var code: Int32
    }

    private let directories: Directories
    private let holder: RuntimeLock.Holder

    private init(_ directories: Directories, manifest: String) {
        self.directories = directories
        holder = RuntimeLock.Holder(
            pid: ownProcessID(), since: WallClock.text(nanoseconds: wallClockNanoseconds()), manifest: manifest)
    }

    private var runtimeFile: String { "\(directories.runtime)/supd.lock" }
    private var stateFile: String { "\(directories.state)/state.lock" }
    private var logFile: String { "\(directories.logs)/.supd.lock" }

    /// Takes all of them.
    static func take(_ directories: Directories, manifest: String) throws(Refusal) -> [Descriptor] {
        let wish = DirectoryLocks(directories, manifest: manifest)
        var locks = [try wish.runtime()]
        var lines: [String] = []
        for (file, refusal) in [(wish.stateFile, wish.stateRefusal), (wish.logFile, wish.logRefusal)] {
            do throws(RuntimeLock.Failure) {
                locks.append(try RuntimeLock(path: file, holder: wish.holder).descriptor)
            } catch {
                switch error {
                case .held(let other): lines.append(refusal(other))
                // What cannot be written is no reason not to start, and is told where it matters.
                case .system(let error):
                    DaemonLog.warning(
                        "cannot lock \(error.subject): \(error.reason); another supd could use that directory as well")
                }
            }
        }
        guard lines.isEmpty else { throw Refusal(text: lines.joined(separator: "\n"), code: 2) }
        return locks
    }

    /// The locks of an image before, with that of the state directory, which older versions do not have.
    static func complete(_ locks: [Descriptor], of program: KeeperProgram) -> [Descriptor] {
        guard
            let configuration = try? JSONDecoder().decode(
                SupervisorConfiguration.self, from: Data(program.supervisorConfiguration.utf8))
        else { return locks }
        let wish = DirectoryLocks(
            Directories(
                runtime: configuration.runtimeDirectory, state: configuration.stateDirectory,
                logs: configuration.logDirectory), manifest: configuration.manifestPath)
        // By the file itself: on a full disk, who holds it could not be written into it.
        if let file = try? FileIO.status(path: wish.stateFile),
            locks.contains(where: { (try? FileIO.status($0))?.isSameFile(as: file) == true })
        {
            return locks
        }
        do throws(RuntimeLock.Failure) {
            return locks + [try RuntimeLock(path: wish.stateFile, holder: wish.holder).descriptor]
        } catch {
            if case .held(let other) = error {
                DaemonLog.warning("\(wish.stateRefusal(other)); this one goes on, end one of the two")
            }
            return locks
        }
    }

    private func runtime() throws(Refusal) -> Descriptor {
        do throws(RuntimeLock.Failure) {
            return try RuntimeLock(path: runtimeFile, holder: holder).descriptor
        } catch {
            switch error {
            case .held(let other):
                throw Refusal(
                    text: "supd runs already in \(directories.runtime): \(other); end it by \"supctl --socket "
                        + "\(directories.controlSocket) shutdown\", or name another --runtime-directory", code: 2)
            case .system(let error):
                throw Refusal(
                    text: "cannot lock \(error.subject): \(error.reason); name another --runtime-directory", code: 1)
            }
        }
    }

    private func stateRefusal(_ other: RuntimeLock.Holder) -> String {
        "another supd keeps its history and events in \(directories.state): \(other); name another --state-directory, "
            + "or end that one"
    }

    private func logRefusal(_ other: RuntimeLock.Holder) -> String {
        "another supd writes its logs in \(directories.logs): \(other); name another --log-directory, or end that one"
    }
}
