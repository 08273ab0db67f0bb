// SupervisionTests
