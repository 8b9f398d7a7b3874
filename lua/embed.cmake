# cmake -DIN=name.lua -DNAME=name -DOUT=name.c -P embed.cmake: a file as a C array with a NUL behind it, with no tool but CMake.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "#include \"lua/embedded.h\"\nconst unsigned char kg_lua_${NAME}[] = {\n${bytes}0};\n"
    "const size_t kg_lua_${NAME}_size = sizeof kg_lua_${NAME} - 1;\n")
