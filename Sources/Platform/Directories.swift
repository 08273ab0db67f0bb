import Glibc

/// Where a daemon keeps what it needs; the daemon and its client find the places by the same rule, for each of the
/// three on its own: what the command line says, then what systemd says (RUNTIME_DIRECTORY, STATE_DIRECTORY,
/// LOGS_DIRECTORY of systemd.exec(5), the first of a list), then /run/supd, /var/lib/supd and /var/log/supd for root,
/// and for others places of their own by the XDG base directory specification.
package struct Directories: Sendable, Hashable {
    /// For sockets and locks, gone with a reboot.
    package var runtime: String
    /// For what outlives a reboot.
    package var state: String
    /// For the services' output.
    package var logs: String

    /// The path of the control socket.
    package var controlSocket: String { runtime + "/control.sock" }

    /// Creates a set of absolute paths.
    package init(runtime: String, state: String, logs: String) {
        self.runtime = runtime
        self.state = state
        self.logs = logs
    }

    /// Why no directory could be chosen, in words.
    package struct Failure: Error, Sendable, Hashable, CustomStringConvertible {
        package let description: String
    }

    /// What the command line said.
    package struct Flags: Sendable, Hashable {
        /// `--runtime-directory`.
        package var runtime: String?
        /// `--state-directory`.
        package var state: String?
        /// `--log-directory`.
        package var logs: String?

        /// Creates flags.
        package init(runtime: String? = nil, state: String? = nil, logs: String? = nil) {
            self.runtime = runtime
            self.state = state
            self.logs = logs
        }
    }

    /// What the rule depends on beside the flags.
    package struct Surroundings: Sendable {
        /// The environment.
        package var environment: [String: String]
        /// The effective user id.
        package var userID: UInt32
        /// The working directory, for relative paths of the command line.
        package var workingDirectory: String
        /// Whether a directory exists and belongs to the user.
        package var ownsDirectory: @Sendable (_ path: String) -> Bool

        /// Creates surroundings.
        package init(
            environment: [String: String], userID: UInt32, workingDirectory: String,
            ownsDirectory: @escaping @Sendable (_ path: String) -> Bool
        ) {
            self.environment = environment
            self.userID = userID
            self.workingDirectory = workingDirectory
            self.ownsDirectory = ownsDirectory
        }

        /// Those of this process.
        package static var current: Surroundings {
            let names = [
                "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME",
            ]
            var environment: [String: String] = [:]
            for name in names { environment[name] = environmentVariable(name) }
            return Surroundings(
                environment: environment, userID: geteuid(), workingDirectory: absolutePath(".")
            ) { path in
                var information = stat()
                return lstat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
                    && information.st_uid == geteuid()
            }
        }
    }

    /// Applies the rule. Nothing is created.
    package init(flags: Flags = Flags(), surroundings: Surroundings = .current) throws(Failure) {
        let environment = surroundings.environment
        let isRoot = surroundings.userID == 0

        /// The first absolute path of a colon-separated variable.
        func listed(_ name: String) -> String? {
            environment[name]?.split(separator: ":").map(String.init).first { $0.hasPrefix("/") }
        }
        /// A variable of the XDG specification, which says that a relative path is to be ignored.
        func xdg(_ name: String) -> String? {
            environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        func given(_ path: String?) throws(Failure) -> String? {
            guard let path else { return nil }
            guard !path.isEmpty else { throw Failure(description: "the path of a directory is empty") }
            return normalized(path.hasPrefix("/") ? path : surroundings.workingDirectory + "/" + path)
        }
        func ownState() throws(Failure) -> String {
            if isRoot { return "/var/lib/supd" }
            if let home = xdg("XDG_STATE_HOME") { return home + "/supd" }
            if let home = xdg("HOME") { return home + "/.local/state/supd" }
            throw Failure(
                description: "cannot choose a state directory: neither XDG_STATE_HOME nor HOME is set; "
                    + "give --state-directory")
        }
        // Swift's ?? takes no typed throws on its right side.
        func first(
            _ flag: String?, _ variable: String, _ own: () throws(Failure) -> String
        ) throws(Failure) -> String {
            if let path = try given(flag) { return path }
            if let path = listed(variable) { return normalized(path) }
            return normalized(try own())
        }
        let state = try first(flags.state, "STATE_DIRECTORY", ownState)
        self.state = state
        runtime = try first(flags.runtime, "RUNTIME_DIRECTORY") {
            if isRoot { return "/run/supd" }
            if let directory = xdg("XDG_RUNTIME_DIR") { return directory + "/supd" }
            let systemd = "/run/user/\(surroundings.userID)"
            if surroundings.ownsDirectory(systemd) { return systemd + "/supd" }
            // Never a place under /tmp, where another user could have made the directory before us.
            return state + "/run"
        }
        logs = try first(flags.logs, "LOGS_DIRECTORY") { isRoot ? "/var/log/supd" : state + "/log" }
    }
}

/// A path without repeated slashes and `.` steps; `..` stays, since what it means depends on symbolic links.
private func normalized(_ path: String) -> String {
    let steps = path.split(separator: "/").filter { $0 != "." }
    return "/" + steps.joined(separator: "/")
}
