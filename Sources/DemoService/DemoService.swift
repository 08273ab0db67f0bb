import FoundationEssentials
import Platform

/// A tiny HTTP service: what the demonstration manifest runs, and what tests make misbehave.
@main
enum DemoService {
    static func main() {
        do throws(UsageError) {
            guard let options = try Options.parse(Array(CommandLine.arguments.dropFirst())) else {
                printLine(Options.usage)
                return
            }
            exitProcess(run(options))
        } catch {
            printErrorLine("demo-service: \(error.message)")
            exitProcess(2)
        }
    }

    /// Does what the command line says; returns the exit code.
    private static func run(_ options: Options) -> Int32 {
        let environment = ProcessInfo.processInfo.environment
        let identity = Identity(environment: environment)
        if options.printsDescriptors { printDescriptors() }
        if options.printsEnvironment { printEnvironment(environment) }
        do throws(SystemError) {
            if options.ignoresTermination { ignoreTerminationSignals() }
            switch options.mode {
            case .leak(let resource): return leak(resource, pausing: options.leakPause)
            case .sleep:
                pause(for: .seconds(3600))
                return 0
            case .daemonize:
                try daemonize(options)
                return 0
            case .task:
                try startDescendants(options)
                return runTask(options, identity)
            case .serve:
                // Before any thread is started, so that all have them blocked.
                let signals = try options.ignoresTermination ? TerminationSignals.ignored() : TerminationSignals()
                try startDescendants(options)
                return try serve(options, identity, environment, until: signals)
            }
        } catch {
            printErrorLine("demo-service: \(error)")
            return 1
        }
    }

    private static func runTask(_ options: Options, _ identity: Identity) -> Int32 {
        for step in 1...3 { printLine("\(identity.service): step \(step) of 3") }
        flood(lines: options.floodLines, size: options.floodSize)
        if let time = options.exitAfter { pause(for: time) }
        printLine("\(identity.service): done")
        return options.exitCode
    }

    private static func serve(
        _ options: Options, _ identity: Identity, _ environment: [String: String], until signals: TerminationSignals
    ) throws(SystemError) -> Int32 {
        guard let port = identity.port else {
            printErrorLine("demo-service: PORT is not set to a port; say PORT=8080 demo-service")
            return 2
        }
        if let time = options.exitAfter {
            let code = options.exitCode
            try startBlockingThread {
                pause(for: time)
                printLine("exiting with code \(code), as asked for")
                exitProcess(code)
            }
        }
        if options.readyDelay > .zero {
            let milliseconds = Int32(clamping: options.readyDelay.clampedNanoseconds / 1_000_000)
            if try waitReadable([signals.descriptor], timeoutMilliseconds: milliseconds)[0] { return 0 }
        }
        let listener: BlockingListener
        if options.takesListener {
            guard environment["LISTEN_PID"] == String(identity.pid),
                environment["LISTEN_FDS"].flatMap({ Int($0) }) ?? 0 > 0
            else {
                printErrorLine("demo-service: LISTEN_PID and LISTEN_FDS tell of no socket for this process")
                return 2
            }
            let socket = Descriptor(owning: 3)
            // Others accept on it as well: who is announced may be theirs.
            try setBlocking(socket, false)
            listener = BlockingListener(socket)
        } else {
            listener = try BlockingListener(host: identity.host, port: port)
        }
        printLine(
            "listening on \(identity.host):\(port) as \(identity.service)/\(identity.instance), pid \(identity.pid)")
        if options.floodLines > 0 {
            let (lines, size) = (options.floodLines, options.floodSize)
            try startBlockingThread { flood(lines: lines, size: size) }
        }
        let notifying = try options.notifies ? Notifying(environment: environment, pid: identity.pid) : nil
        notifying?.say("READY=1" + (options.status.map { "\nSTATUS=\($0)" } ?? ""))
        try notifying?.feedWatchdog(silentAfter: options.silentAfter)
        let routes = Routes(identity: identity, environment: environment, isLogged: !options.isQuiet)
        let server = HTTPServer(listener: listener) { routes.answer($0) }
        try server.run(until: signals.descriptor)
        notifying?.say("STOPPING=1")
        printLine("stopped")
        return 0
    }
}
