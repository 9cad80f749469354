"""What the tokenizers of the tests' checkpoints are trained on."""

TEXTS = [
    "Describe this car's design briefly and precisely: body type, proportions, surface, lighting, grill, wheels.",
    "What is the body type? Answer in short phrases. sedan hatchback wagon convertible pickup truck sports car",
    "이 자동차의 차체 형태와 비례를 짧은 구로 설명하세요. 세단 해치백 왜건 컨버터블 픽업트럭 은색 회색",
] * 3
