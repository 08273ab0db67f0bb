import Platform

/// Starts the processes that outlive this one, as asked for.
func startDescendants(_ options: Options) throws(SystemError) {
    let stubborn = options.ignoresTermination ? ["--ignore-term"] : []
    if options.grandchildHoldsOutput {
        let child = try startItself(arguments: ["--sleep"] + stubborn)
        printLine("child \(child) holds the output")
    }
    if options.daemonizesChild {
        awaitChild(try startItself(arguments: ["--daemonize"] + stubborn))
    }
}

/// The middle process of a daemon's birth: a child in a session of its own, whose parent is gone at once.
func daemonize(_ options: Options) throws(SystemError) {
    leaveSession()
    let child = try startItself(arguments: ["--sleep"] + (options.ignoresTermination ? ["--ignore-term"] : []))
    printLine("daemon \(child) left the session")
}
