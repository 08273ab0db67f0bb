import Balancer
import FoundationEssentials
import Keeper
import Manifest
import Platform
import Supervisor
import Web

/// The program: reads the command line and runs the role that it is to be. Without a role in the environment it is the
/// keeper, which starts the others.
@main
enum Supd {
    /// Set by the keeper for the roles that it starts.
    private static let configurationVariable = "SUPD_CONFIGURATION"
    /// What `ps` shows of the roles; they know by it what they are.
    private static let supervisorName = "supd: supervisor"
    private static let balancerName = "supd: balancer"
    private static let webName = "supd: web"

    static func main() {
        var environment = ProcessInfo.processInfo.environment
        let resumed = ResumedState.take(
            from: &environment, arguments: CommandLine.arguments, processID: ownProcessID())
        if let resumed { return resume(resumed, environment) }
        guard let configuration = environment.removeValue(forKey: configurationVariable) else {
            return runProgram(environment)
        }
        switch CommandLine.arguments.first {
        case supervisorName?: superviseOrExit(configuration, environment)
        case balancerName?: runBalancer()
        case webName?: runWeb()
        default: runProgram(environment)
        }
    }

    // MARK: Roles

    private static func superviseOrExit(_ configuration: String, _ environment: [String: String]) {
        guard let value = try? JSONDecoder().decode(SupervisorConfiguration.self, from: Data(configuration.utf8)) else {
            fail("the supervisor was started without its configuration: end the supd that did so", code: 2)
        }
        runSupervisor(value, environment: environment)
    }

    private static func runProgram(_ environment: [String: String]) {
        do throws(Options.UsageError) {
            let options = try Options(Array(CommandLine.arguments.dropFirst()))
            switch options.action {
            case .help: print(Options.help)
            case .version: print("supd \(version)")
            case .check: check(manifestPath(options), environment)
            case .trial: runTrial()
            case .run: run(options, environment)
            }
        } catch {
            fail("\(error.text)\ntry supd --help", code: 2)
        }
    }

    private static func check(_ path: String, _ environment: [String: String]) {
        do throws(ManifestFile.Unreadable) {
            let result = try ManifestFile.load(path, environment: environment, isOnlyChecked: true)
            print(checkReport(result), terminator: "")
            exitProcess(result.manifest == nil ? 1 : 0)
        } catch {
            fail(error.text, code: 1)
        }
    }

    private static func run(_ options: Options, _ environment: [String: String]) {
        let path = manifestPath(options)
        let directories: Directories
        do throws(Directories.Failure) {
            directories = try Directories(
                flags: Directories.Flags(
                    runtime: options.runtimeDirectory, state: options.stateDirectory, logs: options.logDirectory))
        } catch {
            fail(error.description, code: 1)
        }
        // A name that was mistyped leaves nothing behind. One that was right once has been kept.
        do throws(ManifestFile.Unreadable) {
            try ManifestFile.checkReadable(path)
        } catch {
            let history = ManifestHistory(stateDirectory: directories.state)
            if !history.hasGood(from: path) { fail(error.text, code: 1) }
        }
        do throws(SystemError) {
            // Services that run as others must reach their sockets in the runtime directory, as with the unit.
            try FileIO.createDirectories(directories.runtime, mode: 0o755)
            for directory in [directories.state, directories.logs] { try FileIO.createDirectories(directory) }
        } catch {
            fail(
                "cannot create the directory \(error.subject): \(error.reason); name others by --runtime-directory, "
                    + "--state-directory and --log-directory", code: 1)
        }
        // Before anything is opened that could become one of them.
        openStandardDescriptors()
        closeInheritedDescriptors()
        do throws(DirectoryLocks.Refusal) {
            keep(path, directories, environment, try DirectoryLocks.take(directories, manifest: path))
        } catch {
            fail(error.text, code: error.code)
        }
    }

    /// Becomes the keeper.
    private static func keep(
        _ path: String, _ directories: Directories, _ environment: [String: String], _ locks: [Descriptor]
    ) {
        let began = monotonicNanoseconds()
        let pid = ownProcessID()
        let supervisor = SupervisorConfiguration(
            manifestPath: path, runtimeDirectory: directories.runtime, stateDirectory: directories.state,
            logDirectory: directories.logs, keeper: pid, keeperBegan: began)
        guard let encoded = try? JSONEncoder().encode(supervisor) else {
            fail("cannot write down the configuration; is a path not UTF-8?", code: 1)
        }
        let scope = ProcessScope(runtimeDirectory: directories.runtime, nonce: "\(pid)-\(began)")
        let program = KeeperProgram(
            supervisorConfiguration: String(decoding: encoded, as: UTF8.self),
            path: ProgramImage.ownPath(
                firstArgument: CommandLine.arguments.first ?? "", searchPath: environment["PATH"]),
            locks: locks.map(\.raw))
        exitProcess(runKeeper(configuration(of: program, scope, environment, locks)))
    }

    /// Goes on as the keeper that this process was before, in the image of another supd.
    private static func resume(_ resumed: ResumedState, _ environment: [String: String]) {
        guard let configuration = configuration(of: resumed, environment) else {
            fail("the tables of the supd before name no scope", code: 1)
        }
        exitProcess(runKeeper(configuration, resuming: resumed))
    }

    private static func configuration(
        of resumed: ResumedState, _ environment: [String: String]
    ) -> KeeperConfiguration? {
        guard let state = resumed.state, let scope = ProcessScope(state.scope) else { return nil }
        let locks = state.program.locks.compactMap { try? resumed.descriptor($0) }
        var program = state.program
        let all = DirectoryLocks.complete(locks, of: program)
        program.locks = all.map(\.raw)
        return configuration(of: program, scope, environment, all)
    }

    private static func configuration(
        of program: KeeperProgram, _ scope: ProcessScope, _ environment: [String: String], _ locks: [Descriptor]
    ) -> KeeperConfiguration {
        var values = environment
        values[configurationVariable] = program.supervisorConfiguration
        // Roles that outlive a killed keeper for a moment are in the next one's way: their listeners, their logs.
        values[ProcessScope.variable] = ProcessMark(scope: scope, instance: "supd", generation: 0).description
        var configuration = KeeperConfiguration(
            supervisorArguments: [supervisorName], balancerArguments: [balancerName], environment: values,
            scope: scope.description, processID: ownProcessID())
        configuration.ownArguments = CommandLine.arguments
        configuration.ownEnvironment = environment.map { "\($0.key)=\($0.value)" }.sorted()
        configuration.program = program
        configuration.locks = locks
        return configuration
    }

    // MARK: Words

    /// The manifest's absolute path: the argument, else ./supd.json5, else /etc/supd/supd.json5.
    private static func manifestPath(_ options: Options) -> String {
        if let path = options.manifest { return absolutePath(path) }
        let usual = [absolutePath("supd.json5"), "/etc/supd/supd.json5"]
        guard let path = usual.first(where: { (try? Files.status($0)) != nil }) else {
            fail("there is no manifest: neither \(usual[0]) nor \(usual[1]); name one, as in supd MANIFEST", code: 2)
        }
        return path
    }

    static func fail(_ text: String, code: Int32) -> Never {
        for line in text.split(separator: "\n") { DaemonLog.error(String(line)) }
        exitProcess(code)
    }
}
