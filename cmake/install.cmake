# What an installed doppel needs beside its program: how images are made.
install(PROGRAMS ${PROJECT_SOURCE_DIR}/share/image/debian.sh DESTINATION ${CMAKE_INSTALL_DATADIR}/doppel/image)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/share/image/debian DESTINATION ${CMAKE_INSTALL_DATADIR}/doppel/image USE_SOURCE_PERMISSIONS)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
