/// Understands the command line, runs the verb, and says what went wrong.
func runSupctl(_ arguments: [String], console: Console) -> ExitCode {
    do throws(VerbFailure) {
        let line = try CommandLineReader.read(arguments, verbs: allVerbs)
        if line.wantsHelp {
            try console.print(HelpText.text(for: line.verb, among: allVerbs))
            return .done
        }
        guard let verb = line.verb else {
            throw VerbFailure(.usage, "which verb? \"supctl help\" lists them")
        }
        return try verb.run(Invocation(line: line, console: console))
    } catch {
        console.complain(error.message)
        return error.code
    }
}
