import Platform

exitProcess(runSupctl(Array(CommandLine.arguments.dropFirst()), console: Console()).rawValue)
