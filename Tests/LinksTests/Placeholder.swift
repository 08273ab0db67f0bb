// LinksTests
