from gantut.cli import main

main()
